"""Descriptors: warns of a server that has hardly any file descriptors left. Its event loop then closes
further connections, and says nothing."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

logger = logging.getLogger("mlsrv.cli")

LOOK_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 60.0
"""Seconds before the same is said again."""
MOST: Final = 0.9
"""Part of the limit from which a server has hardly any left."""

_FOLDERS: Final = ("/proc/self/fd", "/dev/fd")


@asynccontextmanager
async def watching_descriptors() -> AsyncIterator[None]:
    """Look at the open file descriptors of this process from time to time, meanwhile."""
    watching = asyncio.create_task(_watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


def open_descriptors(limit: int) -> int | None:
    """Return how many file descriptors are open, `limit` if no further one can be; None where the system does
    not tell."""
    for folder in _FOLDERS:
        try:
            return len(os.listdir(folder))
        except OSError as error:
            if error.errno == errno.EMFILE:
                return limit
    return None


def descriptor_limit() -> int | None:
    """Return how many file descriptors this process may have; None for any number."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


async def _watch() -> None:
    said = -math.inf
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        limit = descriptor_limit()
        if limit is None or time.monotonic() < said + AGAIN_SECONDS:
            continue
        found = await asyncio.to_thread(open_descriptors, limit)
        if found is not None and found >= MOST * limit:
            said = time.monotonic()
            logger.warning(
                "%d of %d file descriptors are open; connections beyond them are closed unanswered. Raise "
                "the limit (ulimit -n, LimitNOFILE), or lower the limits of connections",
                found,
                limit,
            )
