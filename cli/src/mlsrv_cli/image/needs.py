"""Needs: the distributions that a folder of models needs, read from its settings, files and code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlsrv.errors import ConfigurationError
from mlsrv.plugins import Plugins
from mlsrv.plugins.offers import RuntimeOffer
from mlsrv_settings_kit.known_plugins import known_plugins, owner_of
from mlsrv_settings_kit.sources import read_object

_SETTINGS = ("model-settings.json", "settings.json")
_MLSERVER = re.compile(r"^\s*(from|import)\s+mlserver", re.MULTILINE)


def needed(folder: Path, plugins: Plugins) -> list[str]:
    """Return the distributions that serve the models of a folder, sorted, ``mlsrv`` itself among them.

    They are the owners of the settings and runtimes that its files name; for models without an
    implementation, the installed plugins whose artifacts are there.

    Raises:
        ConfigurationError: a settings file cannot be read.
    """
    found = {"mlsrv"}
    for path in sorted(folder.rglob("*settings.json")):
        if path.name in _SETTINGS:
            found.update(_of_settings(path, read_object(path), plugins))
    if any(_MLSERVER.search(_text(path)) for path in sorted(folder.rglob("*.py"))):
        found.add("mlsrv-mlserver")
    default = {name for name, entries in known_plugins().items() if entries.get("default")}
    return sorted(found - default)


def _of_settings(path: Path, values: dict[str, Any], plugins: Plugins) -> Iterator[str]:
    for key in values:
        owner = owner_of("settings", key)
        if owner is not None:
            yield owner
    if path.name != "model-settings.json":
        return
    wanted = values.get("implementation")
    if isinstance(wanted, str):
        owner = owner_of("runtimes", wanted)
        if owner is not None:
            yield owner
        elif wanted.startswith("mlserver"):
            yield "mlsrv-mlserver"
    elif wanted is None:
        names = {file.name for file in path.parent.iterdir()}
        for distribution, offer in plugins.attributed(RuntimeOffer):
            if names & set(offer.artifacts):
                yield distribution


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from None
