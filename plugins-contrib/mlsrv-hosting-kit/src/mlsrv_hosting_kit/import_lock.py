"""Import lock: lets the code of models import one after the other in a process.

The interpreter locks each module. When two threads import parts of one package at the same time, each may
hold a module that the other needs; the interpreter then lets one go on with a module that is half made, and
the model that gets it cannot be loaded. Loads run side by side, so their imports take one lock more, before
that of any module.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

PRIVATE = "_mlsrv_model_"
"""The beginning of the names of the private packages of models, which no other model imports."""

LONGEST = 60.0
"""Seconds after which an import does not wait for another one any longer."""

_lock = threading.RLock()
_bootstrap: Any = sys.modules["_frozen_importlib"]
_find_and_load = _bootstrap._find_and_load


def _nobody() -> bool:
    return False


_is_code_of_model: Callable[[], bool] = _nobody


def install(is_code_of_model: Callable[[], bool]) -> None:
    """Let the code of models take the lock for each module that it is the first to import. Idempotent.

    `is_code_of_model` says whether the code that imports belongs to a model.

    All kinds of imports, those of extension modules too, call the function that is replaced here; none does
    for a module that has been imported.
    """
    global _is_code_of_model
    _is_code_of_model = is_code_of_model
    _bootstrap._find_and_load = _one_after_the_other


def _one_after_the_other(name: str, import_: Any) -> Any:
    # Threads that a package starts while it is imported do not take part, since it may wait for them. Neither
    # does the code of the model itself, whose modules may take long for other reasons.
    if not _is_code_of_model() or name.startswith(PRIVATE):
        return _find_and_load(name, import_)
    held = _lock.acquire(timeout=LONGEST)
    try:
        return _find_and_load(name, import_)
    finally:
        if held:
            _lock.release()
