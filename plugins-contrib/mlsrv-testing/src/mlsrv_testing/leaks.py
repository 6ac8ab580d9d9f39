"""Leaks: threads, processes, files and shared memory of this process, compared before and after a test."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

from attrs import frozen


@frozen
class Belongings:
    """Resources of this process at one moment; on systems other than Linux only its threads."""

    things: frozenset[str]

    @classmethod
    def now(cls) -> Belongings:
        """Return the resources of this moment."""
        gc.collect()
        return cls(frozenset([*_threads(), *_children(), *_descriptors(), *_shared_memory()]))

    def outlived(self, seconds: float) -> list[str]:
        """Return the resources of now that are not among these, sorted.

        Waits up to `seconds` for them to go.
        """
        end = time.monotonic() + seconds
        while left := sorted(Belongings.now().things - self.things):
            if time.monotonic() >= end:
                break
            time.sleep(0.02)
        return left


def _threads() -> list[str]:
    return [f"thread {thread.name}" for thread in threading.enumerate()]


def _children() -> list[str]:
    found: list[str] = []
    for path in Path("/proc/self/task").glob("*/children"):
        try:
            found += [f"process {pid}" for pid in path.read_text().split()]
        except OSError:
            continue  # the thread has ended meanwhile
    return found


def _descriptors() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").glob("*"):
        try:
            target = os.readlink(path)
        except OSError:
            continue  # the descriptor of this very listing
        if not target.startswith(f"/proc/{os.getpid()}/"):
            found.append(f"descriptor {path.name} ({target})")
    return found


def _shared_memory() -> list[str]:
    return [f"shared memory {path.name}" for path in Path("/dev/shm").glob("*")]
