"""Settings of the HTTP server."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import mlsrv_rest.plugin
from mlsrv import Kernel
from mlsrv.errors import ConfigurationError
from mlsrv_rest import CORSSettings, RestSettings


def settings(**values: Any) -> RestSettings:
    return Kernel(values, plugins=[mlsrv_rest.plugin], discover=False).settings.of(RestSettings)


def test_defaults() -> None:
    made = settings()
    assert (made.http_port, made.http_server, made.root_path, made.cors_settings) == (
        8080,
        "combined",
        "",
        None,
    )
    assert made.http_keep_alive > 60, "longer than load balancers keep idle connections"
    assert made.gzip_enabled is False


def test_every_setting_has_a_help_text() -> None:
    classes: list[Any] = [RestSettings, CORSSettings]
    for cls in classes:
        for attribute in attrs.fields(cls):
            assert attribute.metadata["help"].endswith("."), attribute.name


def test_values_as_users_write_them() -> None:
    made = settings(
        http_port="8085", gzip_enabled="true", cors_settings={"allow_origins": ["*"], "max_age": "5"}
    )
    assert made.http_port == 8085
    assert made.gzip_enabled is True
    assert made.cors_settings is not None
    assert (made.cors_settings.allow_origins, made.cors_settings.max_age) == (["*"], 5)
    assert made.cors_settings.allow_methods == ["GET", "POST"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"http_port": 70000}, "http_port"),
        ({"http_port": "eighty"}, "http_port"),
        ({"http_server": "apache"}, "http_server.*hypercorn.*uvicorn"),
        ({"http_max_body_size": 0}, "http_max_body_size"),
        ({"http_max_decompressed_size": -1}, "http_max_decompressed_size"),
        ({"http_max_total_body_size": 0}, "http_max_total_body_size"),
        ({"http_receive_timeout": 0}, "http_receive_timeout"),
        ({"http_keep_alive": 0}, "http_keep_alive"),
        ({"http_tls_key": "key.pem"}, "http_tls_cert"),
        ({"http_tls_ca": "ca.pem"}, "http_tls_cert"),
        ({"cors_settings": {"origins": []}}, "cors_settings.*origins"),
        ({"http_prt": 1}, "http_port"),
    ],
)
def test_invalid_values_are_refused_with_a_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings(**values)


def test_the_total_limit_covers_one_request() -> None:
    made = settings(http_max_total_body_size=10, http_max_body_size=20)
    assert made.total_limit == 40
    made = settings(http_max_total_body_size=100, http_max_body_size=20, http_max_decompressed_size=30)
    assert (made.decompressed_limit, made.total_limit) == (30, 100)


@pytest.mark.parametrize(
    ("given", "prefix"), [("", ""), ("/", ""), ("ml", "/ml"), ("/ml/", "/ml"), ("/a/b", "/a/b")]
)
def test_the_root_path_in_any_spelling(given: str, prefix: str) -> None:
    assert settings(root_path=given).prefix == prefix
