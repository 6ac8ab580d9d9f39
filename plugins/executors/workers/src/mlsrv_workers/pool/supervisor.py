"""Supervisor: starts the worker processes of a pool, replaces those that end, and stops them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mlsrv.errors import MLSrvError
from mlsrv.metrics import Recorder, nothing
from mlsrv_workers.ipc.failures import WorkerEnded
from mlsrv_workers.pool.worker_process import LaunchSpec, WorkerProcess

logger = logging.getLogger("mlsrv.workers")

MAX_CONSECUTIVE_FAILURES = 5
"""Consecutive ends of one worker, while no other is alive, after which the pool counts as down."""

MAX_RESTART_DELAY = 30.0
"""Longest delay in seconds before a worker that keeps ending is replaced."""

HEALTHY_AFTER = 30.0
"""Seconds of life after which a worker's end starts a new count of failures."""


class Supervisor:
    """Keeps a fixed number of worker processes running.

    A worker that ends is replaced, after a delay that grows if it keeps ending.

    Args:
        name: name of the pool, for messages.
        size: number of worker processes.
        launch: how they are started.
        on_free: called when a slot of a worker is free again.
        prepare: awaited for each worker that has been started; it is in `alive` by then.
        on_down: called with a reason when no worker is alive and those that are started keep ending.
        on_end: called with 1 for each worker that ended and is to be replaced.

    Attributes:
        alive: the running workers, by number.
        down: the reason while the pool is down, else None.
        stopping: True once `stop` was called.
    """

    def __init__(
        self,
        name: str,
        size: int,
        launch: LaunchSpec,
        *,
        on_free: Callable[[], None],
        prepare: Callable[[WorkerProcess], Awaitable[None]],
        on_down: Callable[[str], None],
        on_end: Recorder = nothing,
    ) -> None:
        self.name = name
        self.size = size
        self.alive: dict[int, WorkerProcess] = {}
        self.down: str | None = None
        self.stopping = False
        self._launch = launch
        self._on_free = on_free
        self._prepare = prepare
        self._on_down = on_down
        self._on_end = on_end
        self._tasks: list[asyncio.Task[None]] = []
        self._failures: dict[int, str] = {}
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Start all workers.

        Raises:
            MLSrvError: a worker does not start; all others are stopped then.
        """
        first_starts = [asyncio.get_running_loop().create_future() for _ in range(self.size)]
        self._tasks = [
            asyncio.create_task(
                self._keep_running(number, first_start), name=f"mlsrv-worker-{self.name}-{number}"
            )
            for number, first_start in enumerate(first_starts, 1)
        ]
        try:
            await asyncio.gather(*first_starts)
        except BaseException:
            await self.stop(0.0)
            raise

    async def stop(self, grace: float) -> None:
        """Ask all workers to stop, and kill them after `grace` seconds. Idempotent."""
        self.stopping = True
        self._changed.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.stop(grace) for worker in list(self.alive.values())))

    async def wait_for_workers(self) -> list[WorkerProcess]:
        """Return the running workers; wait until there is at least one.

        Raises:
            WorkerEnded: the pool is down or stopping.
        """
        while not self.alive:
            if self.down or self.stopping:
                raise WorkerEnded(self.down or "The server is stopping.")
            self._changed.clear()
            await self._changed.wait()
        return list(self.alive.values())

    @property
    def failure_reasons(self) -> str:
        """The reasons why workers are missing, as the end of a sentence; empty if none is missing."""
        return "".join(f": {reason}" for reason in sorted(set(self._failures.values())))

    async def _keep_running(self, number: int, first_start: asyncio.Future[None]) -> None:
        """Run the worker of one number, and replace it each time it ends."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            worker = WorkerProcess(number, self._on_free, self._on_ended)
            started_at = loop.time()
            try:
                await self._start_worker(worker, first_start, replaced=failures > 0)
                await worker.ended.wait()
                reason = worker.reason
            except Exception as error:
                reason = str(error)
                if not isinstance(error, MLSrvError):
                    logger.exception("Worker %d of the pool %s cannot be started", number, self.name)
                worker.kill(reason)
                if not first_start.done():
                    first_start.set_exception(error)
                    return
            await worker.wait_ended()
            self._on_end(1.0)
            failures = 1 if loop.time() - started_at > HEALTHY_AFTER else failures + 1
            await self._delay_restart(number, reason, failures)

    async def _start_worker(
        self, worker: WorkerProcess, first_start: asyncio.Future[None], *, replaced: bool
    ) -> None:
        await worker.start(self._launch)
        self.alive[worker.number] = worker
        self._changed.set()
        if not first_start.done():
            first_start.set_result(None)
        await self._prepare(worker)
        self._failures.pop(worker.number, None)
        self.down = None
        if replaced:
            logger.info(
                "Worker %d of the pool %s is running again (pid %d)", worker.number, self.name, worker.pid
            )

    async def _delay_restart(self, number: int, reason: str, failures: int) -> None:
        self._failures[number] = reason
        delay = 0.0 if failures == 1 else min(MAX_RESTART_DELAY, 0.1 * 2**failures)
        when = f"in {delay:.1f} s" if delay else "now"
        logger.error("Worker %d of the pool %s: %s It is replaced %s.", number, self.name, reason, when)
        if failures >= MAX_CONSECUTIVE_FAILURES and not self.alive:
            self.down = f"The workers of the pool {self.name} keep ending: {reason}"
            self._changed.set()
            self._on_down(self.down)
        await asyncio.sleep(delay)

    def _on_ended(self, worker: WorkerProcess) -> None:
        if self.alive.get(worker.number) is worker:
            del self.alive[worker.number]
