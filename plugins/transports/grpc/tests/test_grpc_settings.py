"""The settings of the gRPC server."""

from __future__ import annotations

from typing import Any

import pytest

import mlsrv_grpc.plugin
from mlsrv import Kernel
from mlsrv.errors import ConfigurationError
from mlsrv_grpc import GrpcSettings


def test_defaults() -> None:
    settings = Kernel(plugins=[mlsrv_grpc.plugin], discover=False).settings.of(GrpcSettings)
    assert settings == GrpcSettings(
        grpc_port=8081,
        grpc_max_message_length=256 * 2**20,
        grpc_max_concurrent_calls=2000,
        grpc_tls_cert=None,
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"grpc_port": 65536}, "grpc_port: expected a number from 0 to 65535, got 65536"),
        ({"grpc_port": -1}, "grpc_port: expected"),
        ({"grpc_max_message_length": 0}, "grpc_max_message_length: expected a number from 1"),
        ({"grpc_max_concurrent_calls": 0}, "grpc_max_concurrent_calls: expected a number from 1"),
        ({"grpc_max_message_length": 2**31}, "grpc_max_message_length: expected a number from 1"),
        ({"grpc_tls_key": "x.pem"}, "grpc_tls_cert: expected a file"),
        ({"grpc_tls_ca": "x.pem"}, "grpc_tls_cert: expected a file"),
        ({"grpc_options": {"a": [1]}}, "grpc_options"),
    ],
)
def test_wrong_values(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Kernel(given, plugins=[mlsrv_grpc.plugin], discover=False)
