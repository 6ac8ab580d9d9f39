"""Settings file search: finds the settings files below a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

logger = logging.getLogger("mlsrv.files")

SETTINGS_FILE = "model-settings.json"


def settings_files(root: Path, skipped: Callable[[str, OSError], None] | None = None) -> Iterator[Path]:
    """Yield every settings file in or below a folder: its own first, then those of its folders, sorted by
    name.

    Hidden folders are skipped. Linked folders are followed, except a link to a folder that contains it. A
    folder that cannot be read is skipped; `skipped` is called with it, or a log line says so.
    """
    yield from map(Path, _below(str(root.absolute()), frozenset(), skipped or _warn))


def entries(folder: str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name."""
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _below(
    folder: str, inside: frozenset[tuple[int, int]], skipped: Callable[[str, OSError], None]
) -> Iterator[str]:
    try:
        status = os.stat(folder)
        found = entries(folder)
    except OSError as error:
        skipped(folder, error)
        return
    identity = (status.st_dev, status.st_ino)
    if identity in inside:
        return
    folders = [entry for entry in found if _is_folder(entry)]
    yield from (entry.path for entry in found if entry.name == SETTINGS_FILE and entry not in folders)
    for entry in folders:
        if not entry.name.startswith("."):
            yield from _below(entry.path, inside | {identity}, skipped)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Of a link that leads round in circles, the entry itself would raise.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _warn(folder: str, error: OSError) -> None:
    logger.warning("The folder %s is skipped: %s", folder, error.strerror)
