"""Watchdog: finds workers that do not answer or take too much memory, and has them replaced."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mlsrv_workers.pool.process_memory import resident_bytes
from mlsrv_workers.pool.supervisor import Supervisor
from mlsrv_workers.pool.worker_process import WorkerProcess

MAX_INTERVAL = 1.0
"""Longest time in seconds between two looks at the workers."""


class Watchdog:
    """Pings the workers of a pool, and measures them.

    A worker whose event loop leaves a ping unanswered until the next look gets no more requests, and is
    replaced after `heartbeat` seconds. During a load it may stay silent, since loading often holds the
    interpreter; a process that was stopped by a signal may not.

    Args:
        supervisor: the workers.
        heartbeat: seconds in which a worker must answer; None switches pings off.
        max_memory: resident bytes above which a worker is replaced, or None.
    """

    def __init__(
        self, supervisor: Supervisor, heartbeat: float | None, max_memory: int | None = None
    ) -> None:
        self._supervisor = supervisor
        self._heartbeat = heartbeat
        self._max_memory = max_memory
        self._interval = min(MAX_INTERVAL, (heartbeat or MAX_INTERVAL * 4) / 4)

    @property
    def needed(self) -> bool:
        """True if there is something to watch."""
        return self._heartbeat is not None or self._max_memory is not None

    async def run(self) -> None:
        """Watch until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            expected = loop.time() + self._interval
            await asyncio.sleep(self._interval)
            lag = loop.time() - expected
            for worker in list(self._supervisor.alive.values()):
                if worker.pinged_at is not None and lag > self._interval / 2:
                    worker.pinged_at += lag  # this event loop was blocked itself, and has not read the answer
                if self._heartbeat is not None:
                    self._check_answer(worker, self._heartbeat)
                if self._max_memory is not None:
                    self._check_memory(worker, self._max_memory)

    def is_lost(self, worker: WorkerProcess) -> bool:
        """Return True if a worker has not answered for so long that it should not count as serving."""
        return self._heartbeat is not None and worker.silent_for > self._heartbeat / 2

    def _check_answer(self, worker: WorkerProcess, heartbeat: float) -> None:
        silent = worker.silent_for
        if silent >= heartbeat and (not worker.loading or is_stopped(worker.pid)):
            reason = f"its event loop did not answer for {silent:.1f} s"
            worker.kill(f"The worker process was replaced because {reason}.", replaced=True)
        elif silent >= self._interval:
            self._supervisor.pause(worker)
        else:
            worker.ping()

    def _check_memory(self, worker: WorkerProcess, limit: int) -> None:
        size = resident_bytes([worker.pid]) or 0
        if size > limit and worker.prepared and worker.answered:
            self._supervisor.recycle(worker, f"it takes {size} bytes of memory, more than {limit}")


def is_stopped(pid: int, proc: Path = Path("/proc")) -> bool:
    """Return True if a signal has stopped a process. Always False where there is no /proc."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended, or there is no /proc
        return False
    return stat.rpartition(") ")[2].startswith("T")
