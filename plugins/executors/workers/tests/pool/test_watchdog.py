"""The watchdog measures silence, not its own delays."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mlsrv_workers.pool.watchdog import Watchdog, is_stopped


class Process:
    """A worker that never answers."""

    def __init__(self) -> None:
        self.pid = 1
        self.pinged_at: float | None = None
        self.loading = False
        self.killed = ""

    def ping(self) -> None:
        if self.pinged_at is None:
            self.pinged_at = asyncio.get_running_loop().time()

    @property
    def silent_for(self) -> float:
        return 0.0 if self.pinged_at is None else asyncio.get_running_loop().time() - self.pinged_at

    def kill(self, reason: str, *, replaced: bool) -> None:
        assert replaced
        self.killed = reason


class Supervisor:
    def __init__(self, worker: Process) -> None:
        self.alive = {worker.pid: worker}
        self.paused = False

    def pause(self, _: Process) -> None:
        self.paused = True


async def watched(worker: Process, seconds: float, *, block: bool = False) -> Supervisor:
    supervisor: Any = Supervisor(worker)
    task = asyncio.create_task(Watchdog(supervisor, 0.4).run())
    await asyncio.sleep(0.15)  # it has sent a ping
    if block:
        time.sleep(seconds)
    else:
        await asyncio.sleep(seconds)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    found: Supervisor = supervisor
    return found


async def test_a_silent_worker_is_paused_then_killed() -> None:
    worker = Process()
    supervisor = Supervisor(worker)
    given: Any = supervisor
    task = asyncio.create_task(Watchdog(given, 0.4).run())
    async with asyncio.timeout(20):
        while not worker.killed:
            await asyncio.sleep(0.01)
    task.cancel()
    assert supervisor.paused
    assert "its event loop did not answer for " in worker.killed


async def test_a_worker_that_loads_is_only_paused() -> None:
    worker = Process()
    worker.loading = True
    supervisor = await watched(worker, 0.6)
    assert supervisor.paused
    assert not worker.killed


async def test_a_delay_of_the_servers_own_event_loop_is_not_the_workers() -> None:
    worker = Process()
    await watched(worker, 1.0, block=True)
    assert not worker.killed


def test_a_process_that_a_signal_stopped_is_told_from_one_that_runs(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert not is_stopped(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert is_stopped(process.pid)
    finally:
        process.kill()
        process.wait(10)
    assert not is_stopped(process.pid, tmp_path)
