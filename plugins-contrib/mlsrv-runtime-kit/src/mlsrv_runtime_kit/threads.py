"""Threads: how many of them a framework may use for one request."""

from __future__ import annotations

import os

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_runtime_kit.extras import extra_value


def thread_count(settings: ModelSettings) -> int:
    """Return ``parameters.extra.threads``, else this process's share of the cores.

    The share is ``OMP_NUM_THREADS`` where that is set, as it is in worker processes, else the cores that the
    process may run on. Libraries built on OpenMP would find it by themselves, others would take all cores.

    Raises:
        ModelLoadError: ``threads`` is not an integer, or less than 1.
    """
    wanted = extra_value(settings, "threads", int, 0)
    if wanted < 0 or settings.parameters.extra.get("threads") == 0:
        raise ModelLoadError(
            f"Model {settings.name}: parameters.extra.threads must be at least 1, not {wanted}."
        )
    return wanted or share_of_cores()


def share_of_cores() -> int:
    """Return this process's share of the cores, as `thread_count` has it where a model does not say."""
    # A list of numbers is for nested parallel regions; the first is for the outermost.
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
