"""Free memory: gives memory that was freed back to the operating system, where glibc is the C library.

glibc keeps blocks below 32 MiB for later allocations, and cannot return those below a block in use: after a
burst of large requests, or answers that clients did not read, hundreds of MiB would stay with the process.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

INTERVAL = 10.0
"""Seconds between two looks at the memory."""
KEPT = 16 * 2**20
"""Bytes that the C library may keep for later allocations."""

_FREE_BYTES = 8
"""Index of ``fordblks`` in what `mallinfo2` returns: the bytes in blocks that are free."""


class _Mallinfo(ctypes.Structure):
    _fields_ = [("values", ctypes.c_size_t * 10)]


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_trim: Callable[[int], int] | None = getattr(_libc, "malloc_trim", None)
_mallinfo: Callable[[], _Mallinfo] | None = getattr(_libc, "mallinfo2", None)
if _mallinfo is not None:
    _mallinfo.restype = _Mallinfo  # type: ignore[attr-defined]  # a function of ctypes


def return_free_memory() -> None:
    """Give memory that was freed back to the operating system."""
    if _trim is not None:
        _trim(0)


@asynccontextmanager
async def returning_free_memory() -> AsyncIterator[None]:
    """Give freed memory back within `INTERVAL` of when much was freed, until the block ends."""
    if _mallinfo is None or _trim is None:
        yield
        return
    task = asyncio.create_task(_watch(), name="mlsrv-free-memory")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch() -> None:
    resident, least = _resident(), await asyncio.to_thread(_free_bytes)
    while True:
        await asyncio.sleep(INTERVAL)
        now, free = _resident(), await asyncio.to_thread(_free_bytes)
        least = min(least, free)
        # What was given back still counts as free: there is more if the process has grown since then, or if
        # what was in use meanwhile was freed.
        if free >= KEPT and (now >= resident + KEPT / 2 or free >= least + KEPT):
            await asyncio.to_thread(return_free_memory)
            resident, least = _resident(), free
        else:
            resident = min(resident, now)


def _free_bytes() -> int:
    return 0 if _mallinfo is None else int(_mallinfo().values[_FREE_BYTES])


def _resident() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
