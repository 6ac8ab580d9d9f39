"""The kernel names no plugin: the data of `mlsrv_settings_kit` does, and is generated from the rooms."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlsrv_settings_kit import known_plugins as known
from renew import KNOWN_PLUGINS, known_plugins
from workspace import plugins, rooms

CORE = next(room for room in rooms() if room.where == "core")
ENTRIES = known.known_plugins()
SHORT_NAMES = {"files", "rest", "grpc", "workers", "batching", "cache", "prometheus"}
"""Names of plugins and offers that are no name of a module, a library or a content type besides."""


def test_the_data_is_that_of_the_rooms() -> None:
    text = KNOWN_PLUGINS.read_text(encoding="utf-8")
    assert text == known_plugins(), "renew it: python tests/support/renew.py"


def test_the_data_is_about_every_plugin_and_no_other() -> None:
    assert set(ENTRIES) == {room.distribution for room in plugins()}
    kinds = {kind for entries in ENTRIES.values() for kind in entries}
    assert {"settings", "parameters", "codecs", "samples", "runtimes", "metrics", "extensions"} <= kinds


def texts(path: Path) -> Iterator[ast.Constant]:
    """The texts of a module, without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    comments = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in comments:
            yield node


@pytest.mark.parametrize(("module", "path"), list(CORE.modules()), ids=[name for name, _ in CORE.modules()])
def test_the_kernel_names_no_plugin(module: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    packages = {name for room in plugins() for name in (room.distribution, room.package)}
    for name in {*packages, *known.known_names("metrics")}:
        assert not re.search(rf"\b{name}\b", text), f"{module} names {name}"
    kinds: list[known.Kind] = ["settings", "parameters", "extensions", "runtimes", "executors"]
    names = {name for kind in kinds for name in known.known_names(kind)}
    for node in texts(path):
        assert node.value not in names | SHORT_NAMES, (
            f"{module}:{node.lineno} is about a plugin: {node.value}"
        )
