"""Discovery: entry points, given objects and files."""

from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mlsrv.errors import ConfigurationError, PluginError
from mlsrv.plugins.discovery import given_plugins, installed_plugins, load_plugin_file


def test_entry_points_that_fail_or_are_blocked_are_rows_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [
        metadata.EntryPoint("good", "mlsrv.plugins.markers", "mlsrv"),
        metadata.EntryPoint("bad", "no_such_module", "mlsrv"),
        metadata.EntryPoint("unwanted", "no_such_module", "mlsrv"),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    good, bad, unwanted = installed_plugins({"unwanted"})
    assert (good.active, isinstance(good.plugin, ModuleType)) == (True, True)
    assert (bad.active, type(bad.error)) == (False, ModuleNotFoundError)
    assert (unwanted.active, unwanted.blocked, unwanted.error) == (False, True, None)


def test_given_objects_are_named_and_numbered() -> None:
    class Plugin: ...

    rows = list(given_plugins([Plugin(), Plugin(), ModuleType("mine")]))
    assert [row.name for row in rows] == ["Plugin", "Plugin-2", "mine"]
    assert (rows[0].label, rows[0].origin) == ("Plugin", "Plugin")
    with pytest.raises(PluginError, match="Plugin is a class; pass an instance"):
        list(given_plugins([Plugin]))


def test_a_file_is_a_plugin_with_the_file_s_name(tmp_path: Path) -> None:
    path = tmp_path / "local.py"
    path.write_text("value = 3\n")
    module: Any = load_plugin_file(path)
    assert module.value == 3
    assert [row.name for row in given_plugins([module])] == ["local"]


def test_a_file_that_cannot_be_imported_is_one_sentence_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "local.py"
    with pytest.raises(ConfigurationError, match=r"local.py does not exist"):
        load_plugin_file(path)
    path.write_text("\nraise SystemExit(2)\n")
    with pytest.raises(ConfigurationError, match=r"fails to import at line 2: SystemExit: 2"):
        load_plugin_file(path)
