"""Shared memory: one block of memory of fixed size for each direction of a connection, for large tensors.

The sender allocates and the receiver reads in place. The receiver's views keep their block until the last of
them is gone, then the block is released. The memory is an anonymous file that only the two processes know, so
nothing is left behind however either of them ends, and its pages are taken only when they are first written.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
import weakref
from bisect import insort
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64


def create_shared_file(size: int) -> int:
    """Return the descriptor of a new anonymous file of `size` bytes."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("mlsrv-shared-memory", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class SharedMemoryWriter:
    """The sender's side: a first-fit allocator over the shared file."""

    def __init__(self, descriptor: int) -> None:
        self.size = os.fstat(descriptor).st_size
        self._map = mmap.mmap(descriptor, self.size) if self.size else None
        self._view = np.frombuffer(self._map, np.uint8) if self._map is not None else None
        self._free: list[tuple[int, int]] = [(0, self.size)] if self.size else []
        self._used: dict[int, int] = {}
        self._touched = 0  # end of the pages that may be taken
        self._recent = 0  # end of the blocks that were in use since the last `trim`

    @property
    def used(self) -> int:
        """Bytes that are allocated now."""
        return sum(self._used.values())

    def put(self, data: npt.NDArray[np.uint8]) -> int | None:
        """Copy bytes into the memory and return their offset, or None if there is no room."""
        needed = -(-data.nbytes // ALIGNMENT) * ALIGNMENT
        for index, (offset, length) in enumerate(self._free):
            if length >= needed:
                if length == needed:
                    del self._free[index]
                else:
                    self._free[index] = (offset + needed, length - needed)
                self._used[offset] = needed
                self._recent = max(self._recent, offset + needed)
                assert self._view is not None  # there is a free block, so there is memory
                self._view[offset : offset + data.nbytes] = data
                return offset
        return None

    def release(self, offset: int) -> None:
        """Free a block."""
        length = self._used.pop(offset)
        insort(self._free, (offset, length))
        merged: list[tuple[int, int]] = []
        for start, size in self._free:
            if merged and merged[-1][0] + merged[-1][1] == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((start, size))
        self._free = merged

    def trim(self) -> bool:
        """Give the pages behind the blocks that were in use since the last time back to the system.

        Returns:
            Whether there may be more to give back the next time.
        """
        end, self._touched = max(self._touched, self._recent), self._recent
        end = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        for start, size in self._free:
            self._give_back(max(start, self._recent), min(start + size, end))
        self._recent = max((offset + length for offset, length in self._used.items()), default=0)
        return self._touched > 0

    def _give_back(self, start: int, end: int) -> None:
        page = mmap.PAGESIZE
        start, end = -(-start // page) * page, end // page * page
        if self._map is not None and start < end and hasattr(mmap, "MADV_REMOVE"):
            try:
                self._map.madvise(mmap.MADV_REMOVE, start, end - start)
            except OSError:
                return  # a file system that cannot do it keeps the pages until the end

    def close(self) -> None:
        """Release the memory; views of the receiver stay valid. Idempotent."""
        self._view = self._map = None
        self._free = []
        self._used = {}


class SharedMemoryReader:
    """The receiver's side.

    Args:
        descriptor: descriptor of the shared file.
        release: called with the offset of a block once no view refers to it any more, in the thread that
            drops the last reference.
    """

    def __init__(self, descriptor: int, release: Callable[[int], None]) -> None:
        size = os.fstat(descriptor).st_size
        self._map = mmap.mmap(descriptor, size) if size else None
        self._release = release

    def view(self, offset: int, length: int) -> memoryview:
        """Return the bytes of a block, in place and writable."""
        assert self._map is not None  # the sender had memory to put them in
        # A ctypes array takes weak references and stays the base of every numpy view made from it.
        block = (ctypes.c_char * length).from_buffer(self._map, offset)
        weakref.finalize(block, self._release, offset).atexit = False
        return memoryview(block).cast("B")

    def close(self) -> None:
        """Release the memory once no view refers to it any more. Idempotent."""
        self._map = None
