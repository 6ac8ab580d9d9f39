"""Where settings files are."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("mlsrv.files")

SETTINGS_FILE = "model-settings.json"


def settings_files(root: Path) -> Iterator[Path]:
    """Every settings file in or below a folder: its own first, then those of its folders, sorted by name.

    Hidden folders are skipped. Linked folders are followed, except into one that they are themselves inside
    of. A folder that cannot be read is skipped with a warning.
    """
    yield from _below(root.absolute(), frozenset())


def _below(folder: Path, inside: frozenset[tuple[int, int]]) -> Iterator[Path]:
    try:
        status = folder.stat()
        names = sorted(os.listdir(folder))
    except OSError as error:
        logger.warning("The folder %s is skipped: %s", folder, error.strerror)
        return
    identity = (status.st_dev, status.st_ino)
    if identity in inside:
        return
    paths = [folder / name for name in names]
    yield from (path for path in paths if path.name == SETTINGS_FILE and not path.is_dir())
    for path in paths:
        if path.is_dir() and not path.name.startswith("."):
            yield from _below(path, inside | {identity})
