"""Model files: what belongs to a version of a model, so that replaced processes load the same version."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.utils import local_path
from mlsrv_hosting_kit.code_snapshot import CodeSnapshot, take_snapshot

__all__ = ["MAX_FILES", "ModelFiles", "Stamp", "artifact_stamp"]

Stamp: TypeAlias = frozenset[tuple[str, int, int, int]]
"""Path, size, time of change and inode of each file."""

MAX_FILES = 10_000
"""Files of one artifact that are looked at."""


@frozen
class ModelFiles:
    """The files of a model at the time of a load.

    Attributes:
        code: the modules of its folder, or None if it has none or they are too large to keep.
        artifact: its artifact, seen by sizes and times: it may be large and is not kept.
    """

    code: CodeSnapshot | None
    artifact: Stamp

    @classmethod
    def of(cls, model: ModelSettings) -> ModelFiles:
        """Return the present files of a model.

        Raises:
            ModelLoadError: a module cannot be read.
        """
        try:
            code = None if model.folder is None else take_snapshot(model.folder)
        except OSError as error:
            raise ModelLoadError.of_unexpected(
                f"Model {model.name}: its code cannot be read", error, str(error)
            ) from None
        return cls(code, artifact_stamp(model, code))


def artifact_stamp(model: ModelSettings, code: CodeSnapshot | None) -> Stamp:
    """Return the stamp of the artifact that a model's settings name.

    A model with code of its own may keep other data in its folder: that belongs to no version, unless the
    settings name it.
    """
    path = local_path(model.parameters.uri)
    if path is None or (path == model.folder and _is_own(model, code)):
        return frozenset()
    found: set[tuple[str, int, int, int]] = set()
    for file in [path] if not path.is_dir() else _files(path):
        try:
            status = os.stat(file)
        except OSError:  # it is missing; loading says so
            continue
        found.add((str(file), status.st_size, status.st_mtime_ns, status.st_ino))
        if len(found) >= MAX_FILES:
            break
    return frozenset(found)


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        found += [Path(root, name) for name in files if not name.startswith(".") and not name.endswith(".py")]
        if len(found) > MAX_FILES:
            break
    return found


def _is_own(model: ModelSettings, code: CodeSnapshot | None) -> bool:
    """Return True if the class of a model is in its own folder."""
    wanted = model.implementation
    if not isinstance(wanted, str) or model.folder is None:
        return True
    top = model.folder / wanted.replace(":", ".").partition(".")[0]
    return any(path.startswith((f"{top}.py", f"{top}{os.sep}")) for path in code or ())
