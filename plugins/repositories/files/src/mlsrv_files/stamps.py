"""Change stamps: show that a model has changed without opening its files."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlsrv.errors import ConfigurationError, RepositoryError
from mlsrv.settings import ModelSettings
from mlsrv.utils import local_path
from mlsrv_files.search import SETTINGS_FILE, entries, settings_files

logger = logging.getLogger("mlsrv.files")

MOST_FILES = 10_000
"""Files of one model that are looked at."""


class Stamps:
    """Computes the stamps of models, again and again.

    A settings file is read only when it is new or has changed, to learn where the artifact is; everything
    else is seen by its size, time and inode.
    """

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._artifacts: dict[str, tuple[str, list[str]]] = {}
        self._unreadable: set[str] = set()
        self._lock = threading.Lock()

    def look(self, root: Path) -> Mapping[str, str]:
        """Return the stamp of each model below a folder, by its settings file.

        Models in a folder that cannot be read at the moment keep their previous stamps.

        Raises:
            RepositoryError: the folder itself cannot be read.
        """
        with self._lock:
            unreadable: dict[str, OSError] = {}
            found = {str(path): self._stamp(path) for path in settings_files(root, unreadable.__setitem__)}
            if str(root.absolute()) in unreadable:
                error = unreadable[str(root.absolute())]
                raise RepositoryError.of_unexpected(
                    error, f"The model repository {root.absolute()} cannot be read: {error.strerror}"
                )
            self._warn(unreadable)
            lost = tuple(f"{folder}{os.sep}" for folder in unreadable)
            kept = {source: stamp for source, stamp in self._last.items() if source.startswith(lost)}
            self._last = kept | found
            self._artifacts = {source: self._artifacts[source] for source in found}
            return self._last

    def _stamp(self, settings: Path) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for path in (str(settings.parent), *self._artifact(settings)):
            tree_stamp(path, digest)
        return digest.hexdigest()

    def _artifact(self, settings: Path) -> list[str]:
        """Return the artifact that a settings file names, or None if that is the file's own folder."""
        source = str(settings)
        seen = "".join(_tree(source))
        known = self._artifacts.get(source)
        if known is None or known[0] != seen:
            known = self._artifacts[source] = seen, _named_artifact(settings)
        return known[1]

    def _warn(self, unreadable: Mapping[str, OSError]) -> None:
        for folder in unreadable.keys() - self._unreadable:
            logger.warning("The models in %s are left as they are: %s", folder, unreadable[folder].strerror)
        self._unreadable = set(unreadable)


def tree_stamp(path: str, digest: hashlib.blake2b) -> None:
    """Add the size, time and inode of a file, or of each file of a folder, to a digest."""
    for line in itertools.islice(_tree(path), MOST_FILES):
        digest.update(line.encode("utf-8", "surrogateescape"))


def _named_artifact(settings: Path) -> list[str]:
    if not settings.is_file():  # a named pipe would block for ever
        return []
    try:
        path = local_path(ModelSettings.parse_file(settings).parameters.uri)
    except ConfigurationError:  # told when the model is loaded
        return []
    return [] if path is None or os.path.normpath(path) == str(settings.parent) else [str(path)]


def _tree(path: str, inside: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Yield a line for the file, or for each file of the folder, without hidden files and those of other
    models."""
    try:
        status = os.stat(path)
        found = entries(path) if stat.S_ISDIR(status.st_mode) else None
    except OSError as error:
        yield f"{path} {error.errno}\n"
        return
    if found is None:
        yield f"{path} {status.st_mtime_ns} {status.st_size} {status.st_ino}\n"
        return
    identity = (status.st_dev, status.st_ino)
    if identity in inside or (inside and any(entry.name == SETTINGS_FILE for entry in found)):
        return
    for entry in found:
        if not entry.name.startswith(".") and entry.name != "__pycache__":
            yield from _tree(entry.path, inside | {identity})
