"""Garbage: frees what unloaded models leave behind in reference cycles.

Networks whose parts know each other, callbacks and the like are not freed when their model is unloaded. The
interpreter looks for them only once enough new objects exist: too late for arrays of gigabytes.
"""

from __future__ import annotations

import asyncio
import gc

from mlsrv_hosting_kit.free_memory import return_free_memory

DELAY = 0.2
"""Seconds after an unload before garbage is collected, so that several unloads need one collection."""

_pending: asyncio.TimerHandle | None = None


def freeze_libraries() -> None:
    """Exclude all present objects from later collections, for they will stay.

    To be called before a model exists in this process: an object that is excluded is never collected.
    """
    gc.collect()
    gc.freeze()


def collect_soon() -> None:
    """Collect garbage soon, because a model was unloaded."""
    global _pending
    if _pending is not None:
        _pending.cancel()
    _pending = asyncio.get_running_loop().call_later(DELAY, collect_pending)


def collect_pending() -> None:
    """Collect garbage now if a model was unloaded since the last time."""
    global _pending
    if _pending is not None:
        _pending.cancel()
        _pending = None
        gc.collect()
        return_free_memory()
