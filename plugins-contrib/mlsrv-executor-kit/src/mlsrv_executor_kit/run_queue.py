"""Run queue: the time that a thread was ready to run and waited for a processor."""

from __future__ import annotations


def run_queue_ns() -> int:
    """Return nanoseconds that this thread has waited for a processor since its start.

    It is 0 where the system does not tell, which is everywhere but on Linux.
    """
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
