"""Sources of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv.settings import Owner, Settings, setting, settings_class
from mlsrv_cli.sources import assignments, read_settings, settings_variables
from mlsrv_cli.targets import Target


def resolved(
    folder: Path,
    environ: Mapping[str, str],
    given: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    owners: Sequence[Owner] = (),
) -> Settings:
    read = read_settings(Target(folder, folder), (), environ, given or {}, names or {})
    return read.resolve(owners)


def test_the_layers_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"host": "file", "server_name": "file", "debug": "true"}')
    environ = {"MLSRV_HOST": "environment", "MLSRV_SERVER_NAME": "environment"}
    settings = read_settings(
        Target(tmp_path, tmp_path), (), environ, {"host": "option"}, {"host": "--host"}
    ).resolve(())
    assert (settings.host, settings.server_name, settings.debug) == ("option", "environment", True)
    origins = {value.name: value.origin for value in settings}
    assert origins["host"] == "command line"
    assert origins["server_name"] == "environment"
    assert origins["debug"] == str(tmp_path / "settings.json")
    assert origins["max_in_flight"] == "default"


def test_the_folder_is_the_repository_unless_a_source_says_otherwise(tmp_path: Path) -> None:
    def root(**environ: str) -> str:
        return str(resolved(tmp_path, environ).model_repository_root)

    assert root() == str(tmp_path)
    (tmp_path / "settings.json").write_text('{"model_repository_root": "below"}')
    assert root() == str(tmp_path / "below")
    (tmp_path / "settings.json").write_text('{"model_repository_root": "s3://bucket/models"}')
    assert root() == "s3://bucket/models"
    assert root(MLSRV_MODEL_REPOSITORY_ROOT="elsewhere") == "elsewhere"


def test_assignments() -> None:
    assert assignments(["a=1", "b==", "a=2", "c="]) == {"a": "2", "b": "=", "c": ""}
    with pytest.raises(ConfigurationError) as caught:
        assignments(["good=1", "bad", "=worse"])
    assert len(caught.value.problems) == 2
    assert 'bad: expected "key=value"' in caught.value.problems[0]


def test_service_links_and_the_path_are_left_out_and_settings_are_not() -> None:
    links = {
        "MLSRV_SERVICE_HOST": "10.0.0.1",
        "MLSRV_SERVICE_PORT": "8080",
        "MLSRV_SERVICE_PORT_HTTP": "8080",
        "MLSRV_PORT": "tcp://10.0.0.1:8080",
        "MLSRV_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "MLSRV_PORT_8080_TCP_ADDR": "10.0.0.1",
        "MLSRV_CANARY_SERVICE_HOST": "10.0.0.2",
        "MLSRV_CANARY_PORT": "tcp://10.0.0.2:8080",
        "MLSRV_MODELS_DIR": "/mnt/models",
    }
    settings = {"MLSRV_HTTP_PORT": "8080", "MLSRV_MODEL_NAME": "m", "MLSRV_PORT": "8080", "PATH": "/bin"}
    assert settings_variables(links) == {}
    assert settings_variables(settings) == settings


def test_paths_count_from_the_file_that_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @settings_class
    class Tls:
        cert: str | None = setting(None, help="A file.", path=True)
        name: str | None = setting(None, help="No path.")

    folder, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    def cert(environ: dict[str, str], given: dict[str, str], text: str = "{}") -> object:
        (folder / "settings.json").write_text(text)
        return (
            read_settings(Target(folder, folder), (), environ, given, {})
            .resolve([Owner("mlsrv-x", Tls)])
            .cert
        )

    assert cert({}, {}, '{"cert": "../cert.pem", "name": "../x"}') == str(folder / "../cert.pem")
    assert cert({}, {}, '{"cert": "/etc/cert.pem"}') == "/etc/cert.pem"
    assert cert({}, {}, '{"cert": "file:///etc/cert.pem"}') == "file:///etc/cert.pem"
    assert cert({"MLSRV_CERT": "cert.pem"}, {}) == "cert.pem"
    assert cert({}, {"cert": "cert.pem"}, '{"cert": "other.pem"}') == "cert.pem"
    assert cert({}, {}) is None
