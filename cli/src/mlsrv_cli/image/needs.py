"""Needs: the distributions that a folder of models needs, read from its settings, files and code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlsrv.errors import ConfigurationError
from mlsrv.plugins import Plugins
from mlsrv.plugins.offers import RuntimeOffer
from mlsrv_settings_kit.known_plugins import fitting, known_plugins, owner_of
from mlsrv_settings_kit.sources import read_object

_OF_MODEL = "model-settings.json"
_SETTINGS = (_OF_MODEL, "settings.json")
_MLSERVER = re.compile(r"^\s*(from|import)\s+mlserver", re.MULTILINE)


def needed(folder: Path, plugins: Plugins) -> list[str]:
    """Return the distributions that serve the models of a folder, sorted, ``mlsrv`` itself among them.

    They are the owners of the settings and runtimes that its files name; for models without an
    implementation, and artifacts without settings, the plugins that read such files.

    Raises:
        ConfigurationError: a settings file cannot be read.
    """
    found = {"mlsrv"}
    settings = [path for path in sorted(folder.rglob("*settings.json")) if path.name in _SETTINGS]
    for path in settings:
        found.update(_of_settings(path, read_object(path), plugins))
    if not any(path.name == _OF_MODEL for path in settings):
        for names in _undescribed(folder):
            found.update(_readers(names, plugins))
    if any(_MLSERVER.search(_text(path)) for path in sorted(folder.rglob("*.py"))):
        found.add("mlsrv-mlserver")
    default = {name for name, entries in known_plugins().items() if entries.get("default")}
    return sorted(found - default)


def _of_settings(path: Path, values: dict[str, Any], plugins: Plugins) -> Iterator[str]:
    for key in values:
        owner = owner_of("settings", key)
        if owner is not None:
            yield owner
    if path.name != _OF_MODEL:
        return
    wanted = values.get("implementation")
    if isinstance(wanted, str):
        owner = owner_of("runtimes", wanted)
        if owner is not None:
            yield owner
        elif wanted.startswith("mlserver"):
            yield "mlsrv-mlserver"
    elif wanted is None:
        yield from _readers(_artifacts(path.parent, values), plugins)


def _artifacts(folder: Path, values: dict[str, Any]) -> list[str]:
    """Return the names of the files of a model, which ``parameters.uri`` may name."""
    parameters = values.get("parameters")
    uri = parameters.get("uri") if isinstance(parameters, dict) else None
    place = folder / uri if isinstance(uri, str) else folder
    return _files(place) if place.is_dir() else [place.name]


def _undescribed(folder: Path) -> Iterator[list[str]]:
    """Yield the names of the files of each model of a folder without settings of models: a file, or a
    folder."""
    for name in _files(folder):
        yield [name]
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            yield _files(path)


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _readers(names: Sequence[str], plugins: Plugins) -> set[str]:
    """Return the plugins that read files of these names: installed ones if any do, else known ones."""
    installed = [(origin, offer.artifacts) for origin, offer in plugins.attributed(RuntimeOffer)]
    known = [(name, entries.get("artifacts", ())) for name, entries in known_plugins().items()]
    return set(fitting(names, installed) or fitting(names, known))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from None
