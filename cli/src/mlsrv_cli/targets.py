"""Targets: where the models of `mlsrv start` are, a folder or a single file, and how they are looked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from mlsrv.errors import ConfigurationError
from mlsrv.plugins.offers import RepositoryOffer

SETTINGS_OF_MODELS = "model-settings.json"
_FILES, _ARTIFACTS = "files", "artifacts"
"""Names of repositories: models with settings files, and those without."""
_CODE = ".py"


@frozen
class Target:
    """The argument PATH.

    Attributes:
        path: a folder, an artifact, or Python code, ``models.py`` or ``models.py:NAME``.
        folder: the folder itself, or that of the file: where ``settings.json`` is.
    """

    path: Path
    folder: Path

    def values(self, repositories: Iterable[RepositoryOffer], described: bool) -> Mapping[str, Any]:
        """Return the server settings that stand for the target.

        Args:
            repositories: those that are installed.
            described: whether the environment describes a model, for a folder without settings files.
        """
        values = {"model_repository_root": str(self.path)}
        is_folder = self.path.is_dir()
        default = max(repositories, key=lambda offer: offer.priority, default=None)
        ours = default is not None and default.name == _FILES
        if not is_folder:
            values["on_load_failure"] = "exit"  # there is nothing else to serve
        if not is_folder or (ours and not described and not _has_settings(self.path)):
            values["model_repository_implementation"] = _ARTIFACTS
        return values


def target_of(path: Path) -> Target:
    """Return the target of an argument.

    Raises:
        ConfigurationError: there is no such file or folder.
    """
    if path.is_dir():
        return Target(path, path)
    file = path
    if not path.exists() and f"{_CODE}:" in path.name:
        file = Path(str(path).rpartition(":")[0])
    if not file.exists():
        raise ConfigurationError(f'There is no file or folder "{file}".')
    return Target(path, file.parent)


def _has_settings(folder: Path) -> bool:
    for _, folders, files in os.walk(folder, followlinks=True):
        if SETTINGS_OF_MODELS in files:
            return True
        folders[:] = [name for name in folders if not name.startswith(".")]
    return False
