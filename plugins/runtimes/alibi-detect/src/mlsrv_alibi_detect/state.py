"""State: what an online detector has seen, in the folder ``state`` beside its configuration.

alibi-detect writes several files; they are written to another folder, which then takes the place of the last,
so that a process that is killed meanwhile leaves one that is whole.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

STATE = "state"
"""Folder in which alibi-detect looks for the state when it loads a detector."""

_NEW, _OLD = "state.new", "state.old"


def save(detector: Any, folder: Path) -> None:
    """Save the state of an online detector to the folder of its artifact.

    Raises:
        OSError: the folder cannot be written to.
    """
    new, old, state = folder / _NEW, folder / _OLD, folder / STATE
    shutil.rmtree(new, ignore_errors=True)
    detector.save_state(new)
    shutil.rmtree(old, ignore_errors=True)
    if state.exists():
        state.rename(old)
    new.rename(state)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Put the last whole state back where a process was killed between its renamings."""
    if (folder / _OLD).is_dir() and not (folder / STATE).exists():
        (folder / _OLD).rename(folder / STATE)
