"""References in settings: to variables, to files, in nested values, and what is wrong with them."""

from pathlib import Path
from typing import Any

import pytest

from mlsrv.settings import Layer, Settings, setting, settings_class
from mlsrv_settings_kit.errors import ConfigurationError
from mlsrv_settings_kit.references import resolved
from mlsrv_settings_kit.sections import Owner, resolve


@settings_class
class Broker:
    broker_login: str = setting("", help="User and password.")
    broker_port: int = setting(1, help="A port.")
    broker_options: dict[str, Any] = setting(factory=dict, help="More.")
    broker_path: str | None = setting(None, help="A file.", path=True)


def shown(base: Path, **values: Any) -> dict[str, tuple[Any, Any]]:
    found = resolve([Owner("mlsrv-broker", Broker)], [Layer("settings.json", values, base=base)])
    return {one.name: (one.value, one.shown) for one in found}


def test_variables_and_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pass wörd\n")
    value = {"a": ["${env:USER_NAME}:${file:secret}", 1], "b": "$${env:X} $ {} ${other:X}", "c": None}
    assert resolved(value, tmp_path, {"USER_NAME": "ada"}) == (
        {"a": ["ada:pass wörd", 1], "b": "${env:X} $ {} ${other:X}", "c": None},
        True,
    )
    assert resolved("plain", tmp_path, {}) == ("plain", False)


def test_values_of_settings_are_masked_where_they_came_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PORT", "99")
    monkeypatch.setenv("FOLDER", "there")
    (tmp_path / "secret").write_text("me:pw")
    found = shown(
        tmp_path,
        broker_login="${file:secret}",
        broker_port="${env:BROKER_PORT}",
        broker_options={"key": "${env:FOLDER}"},
        broker_path="${env:FOLDER}/file",
    )
    assert found == {
        "broker_login": ("me:pw", "***"),
        "broker_port": (99, "***"),
        "broker_options": ({"key": "there"}, "***"),
        "broker_path": (str(tmp_path / "there/file"), "***"),
    }
    assert shown(tmp_path, broker_login="me")["broker_login"] == ("me", "me")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${env:NO_SUCH_VARIABLE}", "the variable NO_SUCH_VARIABLE of the environment is not set"),
        ("${file:absent}", "absent cannot be read: No such file"),
        ("${file:binary}", "is not UTF-8 text"),
        ("${file:large}", "has more than 65536 bytes"),
    ],
)
def test_what_a_reference_cannot_be_resolved_to(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "large").write_bytes(b"a" * 70_000)
    with pytest.raises(ConfigurationError) as caught:
        shown(tmp_path, broker_login=text)
    assert says in str(caught.value)
    assert "settings.json: broker_login" in str(caught.value) or "broker_login" in str(caught.value)


def test_a_wrong_value_from_elsewhere_is_not_in_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PORT", "s3cret")
    with pytest.raises(ConfigurationError) as caught:
        shown(tmp_path, broker_port="${env:BROKER_PORT}")
    assert "s3cret" not in str(caught.value)
    assert "broker_port" in str(caught.value)


def test_values_that_code_gives_are_taken_as_they_are() -> None:
    assert Settings(server_name="${env:NOT_SET}").server_name == "${env:NOT_SET}"
