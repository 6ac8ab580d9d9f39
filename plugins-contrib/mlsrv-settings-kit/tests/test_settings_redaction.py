"""Redaction: secrets are masked wherever settings and texts are shown."""

from __future__ import annotations

from typing import Any

import pytest

from mlsrv.settings import Layer, Owner, setting, settings_class
from mlsrv_settings_kit.errors import ConfigurationError
from mlsrv_settings_kit.redaction import is_secret, redacted, without_secrets
from mlsrv_settings_kit.sections import resolve


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "api_token",
        "HF_TOKEN",
        "apiKey",
        "api-key",
        "awsSecretAccessKey",
        "db.password",
        "Authorization",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["", "max_tokens", "tokenizer", "http_tls_key", "key", "monkey", "author"])
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:pw-SECRET@c:4317", "http://user:***@c:4317"),
        ("http://user:p@ss@c:4317/x", "http://user:***@c:4317/x"),
        ("https://TOKEN@sentry.example/1", "https://***@sentry.example/1"),
        ("redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
        ("a http://a:b@c and http://d:e@f", "a http://a:***@c and http://d:***@f"),
        ("GET /v2?token=abc&x=1", "GET /v2?token=***&x=1"),
        ("host=db user=u password=s3cret", "host=db user=u password=***"),
        ('{"api_key": "abc", "x": 1}', '{"api_key": "***", "x": 1}'),
        ("authorization: Bearer abc.def", "authorization: Bearer ***"),
        ("http://host:8080/models/a@b", "http://host:8080/models/a@b"),
        ("s3://bucket/model@2", "s3://bucket/model@2"),
        ("Unexpected token: x", "Unexpected token: x"),
        ("/v2/models/tokenizer/infer", "/v2/models/tokenizer/infer"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_values_at_any_depth() -> None:
    value: Any = {
        "api_token": "abc",
        "hosts": ["http://u:p@h", {"password": 5, "port": 80}],
        "empty": {"secret": "", "token": None},
        "credentials": {"user": "u", "key": "k"},
    }
    assert redacted(value) == {
        "api_token": "***",
        "hosts": ["http://u:***@h", {"password": "***", "port": 80}],
        "empty": {"secret": "", "token": None},
        "credentials": "***",
    }


@settings_class
class Inner:
    pin: int = setting(0, help="A number.", secret=True)
    port: int = setting(1, help="A port.")


@settings_class
class Broker:
    broker_login: str = setting("", help="User and password.", secret=True)
    broker_pin: int | None = setting(None, help="A number.", secret=True)
    broker_token: int | None = setting(None, help="A number.")
    broker_inner: Inner = setting(factory=Inner, help="More.")


def shown(**values: Any) -> dict[str, Any]:
    found = resolve([Owner("mlsrv-broker", Broker)], [Layer("code", values)])
    return {one.name: one.shown for one in found}


def test_settings_that_are_declared_secret_are_masked() -> None:
    assert shown(broker_login="me:pw", broker_pin=1234, broker_inner={"pin": 5}) == {
        "broker_login": "***",
        "broker_pin": "***",
        "broker_token": None,
        "broker_inner": {"pin": "***", "port": 1},
    }
    assert shown()["broker_login"] == ""


@pytest.mark.parametrize("name", ["broker_pin", "broker_token"])
def test_a_wrong_value_of_a_secret_is_not_in_the_message(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        shown(**{name: "s3cret"})
    assert "s3cret" not in str(caught.value)
    assert f"{name}: expected a whole number" in str(caught.value)


def test_the_secrets_of_keys_are_masked_in_texts() -> None:
    text = "the key mlsrv_0123456789abcdef_" + "Ab-_" * 10 + " is wrong"
    assert without_secrets(text) == "the key mlsrv_0123456789abcdef_*** is wrong"
    assert without_secrets("mlsrv_requests_rejected_total 5") == "mlsrv_requests_rejected_total 5"
