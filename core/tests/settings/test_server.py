"""Server settings: their sources, and what is wrong in them."""

import json
import pickle
from pathlib import Path

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv.settings import (
    KernelSettings,
    Layer,
    Owner,
    Settings,
    environment_layers,
    file_layer,
    setting,
    settings_class,
)


@settings_class
class Cors:
    allow_origins: list[str] = setting(factory=list, help="Origins.")
    max_age: int = setting(600, help="Seconds.")


@settings_class
class Rest:
    http_port: int = setting(8080, help="A port.")
    cors_settings: Cors | None = setting(None, help="Cross-origin requests.")


OWNERS = [Owner("mlsrv-rest", Rest)]


def test_fields_of_servers_that_begin_with_model_and_variables_of_clients() -> None:
    server, model = environment_layers(
        {
            "MLSRV_MODEL_REPOSITORY_ROOT": "r",
            "MLSRV_MODEL_SIGNATURES": "warn",
            "MLSRV_MODEL_NAME": "m",
            "MLSRV_CLIENT_KEY": "secret",
        }
    )
    assert server.values == {"model_repository_root": "r", "model_signatures": "warn"}
    assert model.values == {"name": "m"}


def test_the_order_is_command_line_environment_file_default(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"http_port": 1, "server_name": "file", "debug": "true"}')
    server, _ = environment_layers({"MLSRV_HTTP_PORT": "2", "MLSRV_SERVER_NAME": "environment"})
    command_line = Layer("command line", {"http_port": "3"}, text=True)
    found = Settings.from_layers([file_layer(path), server, command_line]).resolve(OWNERS)
    assert (found.http_port, found.server_name, found.debug, found.host) == (
        3,
        "environment",
        True,
        "0.0.0.0",
    )
    origins = {one.name: one.origin for one in found}
    assert origins["http_port"] == "command line"
    assert origins["server_name"] == "environment"
    assert origins["debug"] == str(path)
    assert origins["host"] == "default"


def test_environment_names_in_any_case_and_json_values() -> None:
    server, _ = environment_layers(
        {"mlsrv_http_port": "2", "MLSRV_CORS_SETTINGS": '{"allow_origins": ["*"]}', "HOME": "/root"}
    )
    found = Settings.from_layers([server]).resolve(OWNERS)
    assert found.http_port == 2
    assert found.of(Rest).cors_settings == Cors(allow_origins=["*"])


def test_model_fields_of_the_environment_are_a_layer_of_their_own() -> None:
    server, model = environment_layers(
        {"MLSRV_MODEL_NAME": "m", "MLSRV_MODEL_REPOSITORY_ROOT": "/models", "MLSRV_MODEL_URI": "x"}
    )
    assert dict(server.values) == {"model_repository_root": "/models"}
    assert dict(model.values) == {"name": "m", "uri": "x"}
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_layers([environment_layers({"MLSRV_HOTS": "x"})[0]]).resolve(())
    assert caught.value.problems == ['environment: unknown key "hots"; did you mean "host"?']


def test_nested_objects_and_their_problems(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"cors_settings": {"allow_origins": "*"}, "http_port": "80x0", "hots": ""}')
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_layers([file_layer(path)]).resolve(OWNERS)
    assert caught.value.problems == [
        f'{path}: unknown key "hots"; did you mean "host"?',
        f"{path}: cors_settings: allow_origins: expected a list, got '*'",
        f"{path}: http_port: expected a whole number, got '80x0'",
    ]
    assert str(caught.value) == "; ".join(caught.value.problems)


def test_a_plugin_that_is_missing_or_broken() -> None:
    with pytest.raises(ConfigurationError, match=r"belongs to the plugin mlsrv-rest, which is not installed"):
        Settings(http_port=1).resolve(())
    with pytest.raises(
        ConfigurationError, match=r"mlsrv-rest is installed but did not load: ImportError: no"
    ):
        Settings(http_port=1).resolve((), {"mlsrv-rest": "ImportError: no starlette"})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"max_in_flight": 0}, "code: max_in_flight: expected at least 1, got 0"),
        ({"shutdown_timeout": -1}, "code: shutdown_timeout: expected at least 0, got -1.0"),
        ({"inline_threads": "0"}, "code: inline_threads: expected at least 1, got 0"),
        ({"on_load_failure": "panic"}, "code: on_load_failure: expected one of 'serve', 'exit', got 'panic'"),
    ],
)
def test_values_out_of_range(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(**values).resolve(())
    assert caught.value.problems == [sentence]


# --- before a kernel resolves them ---------------------------------------------------------------------


def test_unresolved_settings_read_as_written() -> None:
    found = Settings(http_port="1", debug="true", acme_level=3)
    assert (found.http_port, found.debug, found.acme_level, found.host) == ("1", True, 3, "0.0.0.0")
    assert found.of(Rest) == Rest(http_port=1)
    assert found.of(KernelSettings).debug
    with pytest.raises(AttributeError, match="no setting 'nothing'"):
        found.nothing  # noqa: B018  # the access is the test
    assert not hasattr(found, "nothing")


def test_unresolved_settings_have_a_wrong_value() -> None:
    with pytest.raises(ConfigurationError, match="http_port: expected a whole number"):
        Settings(http_port="x").of(Rest)


def test_resolving_does_not_change_the_original() -> None:
    original = Settings(http_port="1")
    resolved = original.resolve(OWNERS)
    assert resolved.http_port == 1
    assert original.http_port == "1"
    assert resolved.layers == original.layers


def test_a_class_that_no_plugin_offers() -> None:
    with pytest.raises(KeyError, match="Rest"):
        Settings().resolve(()).of(Rest)


def test_settings_travel_between_processes() -> None:
    found = pickle.loads(pickle.dumps(Settings(http_port=1).resolve(OWNERS)))
    assert found.of(Rest).http_port == 1


def test_a_key_called_self() -> None:
    with pytest.raises(ConfigurationError, match='unknown key "self"'):
        Settings(self=1).resolve(())


# --- files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"debug": true,\n "host": }', "is not valid JSON at line 2, column 10"),
        (b"", "is not valid JSON at line 1, column 1"),
        (b"[1]", "must hold one JSON object, not list"),
        (b"\xff\xfe", "cannot be read: it is not UTF-8 text"),
        (b"[" * 100_000, "is not valid JSON"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        file_layer(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        file_layer(tmp_path / "settings.json")


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"debug": True}), encoding="utf-8-sig")
    assert dict(file_layer(path).values) == {"debug": True}
