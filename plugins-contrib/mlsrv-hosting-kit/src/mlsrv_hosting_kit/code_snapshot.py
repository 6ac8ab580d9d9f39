"""Code snapshot: the modules of a model's folder as they were at one moment.

Processes that load a model at different times, such as a worker that replaces another, run the same code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

CodeSnapshot: TypeAlias = Mapping[str, bytes]
"""The text of each module of a folder, by its path."""

MAX_BYTES = 16 * 1024 * 1024
"""Size of the modules of a folder up to which a snapshot is taken."""

MAX_ENTRIES = 10_000
"""Files and folders that are looked at for a snapshot."""


def take_snapshot(folder: Path) -> CodeSnapshot | None:
    """Return the modules of a folder; None if they are too large or too many to keep in memory.

    Raises:
        OSError: a module cannot be read.
    """
    found: dict[str, bytes] = {}
    size = 0
    for path in _modules(folder):
        if path is None:
            return None
        found[str(path)] = content = path.read_bytes()
        size += len(content)
        if size > MAX_BYTES:
            return None
    return found


def _modules(folder: Path) -> Iterator[Path | None]:
    """Yield the path of each module, and None if there are too many entries to look at."""
    seen = 0
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if is_module_name(name) and name != "__pycache__"]
        seen += len(folders) + len(files)
        if seen > MAX_ENTRIES:
            yield None
            return
        yield from (Path(root, name) for name in files if name.endswith(".py"))


def is_module_name(name: str) -> bool:
    """Return True if a module may be called so.

    Settings may name one that no import statement can name, such as ``serve-model``.
    """
    return name.isidentifier() or (name != "" and "." not in name and " " not in name)
