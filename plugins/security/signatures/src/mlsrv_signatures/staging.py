"""Staging: private copies of folders, hashed while they are copied: what was hashed is what is loaded."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

CHUNK = 2**20

SKIPPED = frozenset((".git", ".gitattributes", ".github", ".gitignore", "__pycache__"))
"""Names at any depth that are not copied, and so are never loaded: those that model-signing ignores, and
compiled code, which Python makes again."""


class UnsafeFile(Exception):
    """A file that cannot be copied safely; the text begins with its name."""


def copy_hashed(source: Path, target: Path, skipped: frozenset[str] = SKIPPED) -> dict[str, str]:
    """Copy a folder into an empty one.

    Args:
        source: the folder.
        target: the empty folder.
        skipped: names that are left out.

    Returns:
        The SHA-256 digest of each copied file, by its name relative to the folder, with slashes.

    Raises:
        UnsafeFile: there is a symbolic link, or something that is neither a file nor a folder.
        OSError: something cannot be read or written.
    """
    return {name: _copy(source / name, target / name, name) for name in _files(source, "", skipped)}


def _files(folder: Path, prefix: str, skipped: frozenset[str]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name in skipped:
            continue
        name = prefix + entry.name
        if entry.is_symlink():
            raise UnsafeFile(f"{name} is a symbolic link")
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name, f"{name}/", skipped)
        else:
            yield name


def _copy(source: Path, target: Path, name: str) -> str:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A link, or a pipe that would never end, may have taken the place of the file meanwhile.
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as reader:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnsafeFile(f"{name} is not a regular file")
        digest = hashlib.sha256()
        with open(target, "xb", buffering=0) as writer:
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[writer.write(view) or 0 :]
    return digest.hexdigest()
