"""The processes of a pool: started together, kept alive, ended together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mlsrv.errors import MLSrvError
from mlsrv.metrics import Recorder, nothing
from mlsrv_workers.ipc.failures import WorkerEnded
from mlsrv_workers.pool.worker_process import Launch, WorkerProcess

logger = logging.getLogger("mlsrv.workers")

DEATHS_IN_A_ROW = 5
"""After how many ends in a row of a worker, when no other lives, the crew counts as down."""

LONGEST_PAUSE = 30.0
"""Seconds between two attempts to replace a worker that keeps ending."""

HEALTHY_AFTER = 30.0
"""Seconds after which a worker's end no longer counts as one in a row."""


class Crew:
    """A fixed number of worker processes; one that ends is replaced, after a pause that grows if it keeps
    ending.

    Args:
        name: of the pool, for messages.
        size: how many processes.
        launch: how they are started.
        on_free: called when a worker has room again.
        prepare: awaited for each worker that has been started; it lives already then.
        on_down: called with a reason when no worker lives and those that are started keep ending.
        on_end: called with 1 for each worker that ended and is to be replaced.

    Attributes:
        living: the workers that live now, by number.
        down: the reason while the crew is down, else None.
        stopping: whether it is being ended.
    """

    def __init__(
        self,
        name: str,
        size: int,
        launch: Launch,
        *,
        on_free: Callable[[], None],
        prepare: Callable[[WorkerProcess], Awaitable[None]],
        on_down: Callable[[str], None],
        on_end: Recorder = nothing,
    ) -> None:
        self.name = name
        self.size = size
        self.living: dict[int, WorkerProcess] = {}
        self.down: str | None = None
        self.stopping = False
        self._launch = launch
        self._on_free = on_free
        self._prepare = prepare
        self._on_down = on_down
        self._on_end = on_end
        self._keepers: list[asyncio.Task[None]] = []
        self._failing: dict[int, str] = {}
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Start all. Raises an `MLSrvError` if one does not come up; then none is left."""
        firsts = [asyncio.get_running_loop().create_future() for _ in range(self.size)]
        self._keepers = [
            asyncio.create_task(self._keep(number, first), name=f"mlsrv-worker-{self.name}-{number}")
            for number, first in enumerate(firsts, 1)
        ]
        try:
            await asyncio.gather(*firsts)
        except BaseException:
            await self.stop(0.0)
            raise

    async def stop(self, grace: float) -> None:
        """End all: ask, then kill after `grace` seconds. Idempotent."""
        self.stopping = True
        self._changed.set()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(worker.stop(grace) for worker in list(self.living.values())))

    async def someone(self) -> list[WorkerProcess]:
        """All that live; waits until one does.

        Raises:
            WorkerEnded: none will.
        """
        while not self.living:
            if self.down or self.stopping:
                raise WorkerEnded(self.down or "The server is stopping.")
            self._changed.clear()
            await self._changed.wait()
        return list(self.living.values())

    @property
    def troubles(self) -> str:
        """Why workers are missing now, for the end of a sentence; empty if none is."""
        return "".join(f": {reason}" for reason in sorted(set(self._failing.values())))

    async def _keep(self, number: int, first: asyncio.Future[None]) -> None:
        """Keep one place filled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            worker = WorkerProcess(number, self._on_free, self._on_ended)
            born = loop.time()
            try:
                await self._fill(worker, first, replaced=failures > 0)
                await worker.ended.wait()
                reason = worker.reason
            except Exception as error:
                reason = str(error)
                if not isinstance(error, MLSrvError):
                    logger.exception("Worker %d of the pool %s cannot be kept", number, self.name)
                worker.kill(reason)
                if not first.done():
                    first.set_exception(error)
                    return
            await worker.gone()
            self._on_end(1.0)
            failures = 1 if loop.time() - born > HEALTHY_AFTER else failures + 1
            await self._pause(number, reason, failures)

    async def _fill(self, worker: WorkerProcess, first: asyncio.Future[None], *, replaced: bool) -> None:
        await worker.start(self._launch)
        self.living[worker.number] = worker
        self._changed.set()
        if not first.done():
            first.set_result(None)
        await self._prepare(worker)
        self._failing.pop(worker.number, None)
        self.down = None
        if replaced:
            logger.info("Worker %d of the pool %s is back (pid %d)", worker.number, self.name, worker.pid)

    async def _pause(self, number: int, reason: str, failures: int) -> None:
        self._failing[number] = reason
        pause = 0.0 if failures == 1 else min(LONGEST_PAUSE, 0.1 * 2**failures)
        when = f"in {pause:.1f} s" if pause else "now"
        logger.error("Worker %d of the pool %s: %s It is replaced %s.", number, self.name, reason, when)
        if failures >= DEATHS_IN_A_ROW and not self.living:
            self.down = f"The workers of the pool {self.name} keep ending: {reason}"
            self._changed.set()
            self._on_down(self.down)
        await asyncio.sleep(pause)

    def _on_ended(self, worker: WorkerProcess) -> None:
        if self.living.get(worker.number) is worker:
            del self.living[worker.number]
