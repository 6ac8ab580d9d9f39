"""gRPC's own clients for health checks and reflection."""

from collections.abc import Callable

import pytest

MODELS = ["echo"]


@pytest.mark.parametrize("what", ["health", "reflection"])
def test_grpcio(what: str, server: dict[str, str], guest: Callable[..., None]) -> None:
    guest("grpcio", "calls.py", what, server["grpc"])
