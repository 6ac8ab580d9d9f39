"""Shared memory for large tensors: one fixed arena for each direction of a connection.

The sender allocates and the receiver reads in place; the receiver's views keep their block until the last of
them is gone, then the block is given back. The memory is an anonymous file that only the two processes know,
so nothing is left behind however either of them ends, and its pages are taken only when they are first
written.
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


def make_file(size: int) -> int:
    """A file descriptor of an anonymous file of `size` bytes."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("mlsrv-arena", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Arena:
    """The sender's side: a first-fit allocator over the shared file."""

    def __init__(self, descriptor: int) -> None:
        self.size = os.fstat(descriptor).st_size
        self._map = mmap.mmap(descriptor, self.size) if self.size else None
        self._view = np.frombuffer(self._map, np.uint8) if self._map is not None else None
        self._free: list[tuple[int, int]] = [(0, self.size)] if self.size else []
        self._used: dict[int, int] = {}

    @property
    def used(self) -> int:
        """Bytes that are allocated now."""
        return sum(self._used.values())

    def put(self, data: npt.NDArray[np.uint8]) -> int | None:
        """Copy bytes in and return their offset, or None if there is no room."""
        wanted = -(-data.nbytes // ALIGNMENT) * ALIGNMENT
        for index, (offset, length) in enumerate(self._free):
            if length >= wanted:
                if length == wanted:
                    del self._free[index]
                else:
                    self._free[index] = (offset + wanted, length - wanted)
                self._used[offset] = wanted
                assert self._view is not None  # there is a free block, so there is memory
                self._view[offset : offset + data.nbytes] = data
                return offset
        return None

    def release(self, offset: int) -> None:
        """Give a block back."""
        length = self._used.pop(offset)
        insort(self._free, (offset, length))
        merged: list[tuple[int, int]] = []
        for start, size in self._free:
            if merged and merged[-1][0] + merged[-1][1] == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((start, size))
        self._free = merged

    def close(self) -> None:
        """Let go of the memory; what the receiver still refers to stays. Idempotent."""
        self._view = self._map = None
        self._free = []
        self._used = {}


class ArenaReader:
    """The receiver's side.

    Args:
        descriptor: of the shared file.
        release: called with the offset of a block once nothing refers to it any more, in whichever thread
        drops the
            last reference.
    """

    def __init__(self, descriptor: int, release: Callable[[int], None]) -> None:
        size = os.fstat(descriptor).st_size
        self._map = mmap.mmap(descriptor, size) if size else None
        self._release = release

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes of a block, in place and writable."""
        assert self._map is not None  # the sender had memory to put them in
        # A ctypes array takes weak references and stays the base of every numpy view made from it.
        block = (ctypes.c_char * length).from_buffer(self._map, offset)
        weakref.finalize(block, self._release, offset).atexit = False
        return memoryview(block).cast("B")

    def close(self) -> None:
        """Let go of the memory once no view refers to it any more. Idempotent."""
        self._map = None
