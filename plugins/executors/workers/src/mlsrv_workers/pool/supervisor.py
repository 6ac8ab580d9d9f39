"""Supervisor: starts the worker processes of a pool, replaces those that end or are stuck, and stops them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext

from attrs import frozen

from mlsrv.errors import MLSrvError
from mlsrv.metrics import Recorder, nothing
from mlsrv_workers.ipc.failures import WorkerEnded
from mlsrv_workers.pool.launch_spec import LaunchSpec
from mlsrv_workers.pool.worker_process import WorkerProcess

logger = logging.getLogger("mlsrv.workers")

MAX_CONSECUTIVE_FAILURES = 5
"""Consecutive ends of one worker, while no other is alive, after which the pool counts as down."""

MAX_RESTART_DELAY = 30.0
"""Longest delay in seconds before a worker that keeps ending is replaced."""

HEALTHY_AFTER = 30.0
"""Seconds of life after which a worker's end starts a new count of failures."""

STUCK_GRACE = 5.0
"""Seconds in which a stuck worker may finish its other requests before it is killed."""

RECYCLE_GRACE = 60.0
"""Seconds in which a worker whose successor is running may finish its requests before it is stopped."""


@frozen
class SupervisorEvents:
    """Functions that a supervisor calls.

    Attributes:
        free: called when a slot of a worker is free again, or a worker takes requests again.
        prepare: awaited for each worker that has been started; it is in `alive` by then.
        down: called with a reason when no worker is alive and those that are started keep ending.
        crashed: called with a worker that ended by itself while it was running requests.
        end: called with 1 for each worker that ended, or was ended, and is to be replaced.
    """

    free: Callable[[], None]
    prepare: Callable[[WorkerProcess], Awaitable[None]]
    down: Callable[[str], None]
    crashed: Callable[[WorkerProcess], None]
    end: Recorder = nothing


class Supervisor:
    """Keeps a fixed number of worker processes running.

    A worker that ends while it answers requests is replaced at once. One that ends while it starts or loads
    models, or for no visible reason, is replaced after a delay that grows if it keeps ending.

    Args:
        name: name of the pool, for messages.
        size: number of worker processes.
        launch: how they are started.
        events: called when something happens.
        max_requests: number of requests after which a worker is replaced by a fresh one, or None.
        cautious: if True, ends while answering requests lead to growing delays, too.

    Attributes:
        alive: the running workers that have, or get, all models, by process id.
        serving: those of them that take requests.
        down: the reason while the pool is down, else None.
        stopping: True once `stop` was called.
    """

    def __init__(
        self,
        name: str,
        size: int,
        launch: LaunchSpec,
        events: SupervisorEvents,
        *,
        max_requests: int | None = None,
        cautious: bool = False,
    ) -> None:
        self.name = name
        self.size = size
        self.alive: dict[int, WorkerProcess] = {}
        self.serving: dict[int, WorkerProcess] = {}
        self.down: str | None = None
        self.stopping = False
        self._launch = launch
        self._events = events
        self._max_requests = max_requests
        self._cautious = cautious
        self._tasks: list[asyncio.Task[None]] = []
        self._retiring: dict[WorkerProcess, asyncio.Task[None]] = {}
        self._recycling = asyncio.Lock()
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
        tasks = [*self._tasks, *self._retiring.values()]
        for task in tasks:
            task.cancel()
        workers = {*self.alive.values(), *self._retiring}
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(worker.stop(grace) for worker in workers | {*self.alive.values()}))

    async def wait_for_workers(self) -> list[WorkerProcess]:
        """Return the running workers, without those that do not answer; wait until there is at least one.

        Raises:
            WorkerEnded: the pool is down or stopping.
        """
        while not self.alive:
            if self.down or self.stopping:
                raise WorkerEnded(self.down or "The server is stopping.")
            self._changed.clear()
            await self._changed.wait()
        return list(self.serving.values()) or list(self.alive.values())

    @property
    def failure_reasons(self) -> str:
        """The reasons why workers are missing, as the end of a sentence; empty if none is missing."""
        return "".join(f": {reason}" for reason in sorted(set(self._failures.values())))

    # --- workers that make no progress ----------------------------------------------------------------------

    def pause(self, worker: WorkerProcess) -> None:
        """Send a worker no more requests until it answers a ping."""
        if self.serving.pop(worker.pid, None) is not None:
            logger.warning(
                "Worker %d of the pool %s (pid %d) does not answer and gets no more requests until it does",
                worker.number,
                self.name,
                worker.pid,
            )

    def replace(self, worker: WorkerProcess, reason: str) -> None:
        """Replace a stuck worker now. It may finish its other requests within `STUCK_GRACE` seconds."""
        if worker.over.is_set() or self.stopping:
            return
        worker.reason, worker.replaced = f"The worker process was replaced because {reason}.", True
        worker.over.set()
        self._retire(worker, STUCK_GRACE, 0.0)

    def recycle(self, worker: WorkerProcess, reason: str) -> None:
        """Replace a worker that works as soon as its successor does."""
        if worker.over.is_set() or self.stopping:
            return
        logger.info("Worker %d of the pool %s is replaced because %s", worker.number, self.name, reason)
        worker.replaced = True
        worker.over.set()

    # --- WorkerObserver -------------------------------------------------------------------------------------

    def worker_free(self) -> None:
        self._events.free()

    def worker_answers(self, worker: WorkerProcess) -> None:
        if self.alive.get(worker.pid) is worker and worker.pid not in self.serving:
            self.serving[worker.pid] = worker
            logger.info("Worker %d of the pool %s answers again", worker.number, self.name)
            self._events.free()

    def worker_used(self, worker: WorkerProcess) -> None:
        self.recycle(worker, f"it has answered {self._max_requests} requests")

    def worker_ended(self, worker: WorkerProcess) -> None:
        self._forget(worker)
        if worker.running_at_end and not worker.replaced and not self.stopping:
            self._events.crashed(worker)

    # --- inside ---------------------------------------------------------------------------------------------

    async def _keep_running(self, number: int, first_start: asyncio.Future[None]) -> None:
        """Run the worker of one number, and replace it each time it ends."""
        failures = 0
        previous: WorkerProcess | None = None
        while True:
            worker = WorkerProcess(number, self, self._max_requests)
            started_at = asyncio.get_running_loop().time()
            try:
                async with self._recycling if previous is not None else nullcontext():
                    await self._start_worker(worker, first_start)
                if previous is not None:
                    self._retire(previous, RECYCLE_GRACE, RECYCLE_GRACE)
                    previous = None
                await worker.over.wait()
                reason = worker.reason
            except Exception as error:
                reason = str(error)
                if not isinstance(error, MLSrvError):
                    logger.exception("Worker %d of the pool %s cannot be started", number, self.name)
                worker.kill(reason)
                # One that something else has killed once is no sign that workers cannot start.
                if not first_start.done() and (failures or not worker.struck):
                    first_start.set_exception(error)
                    return
                await worker.wait_ended()
            self._events.end(1.0)
            if worker.replaced and not worker.ended.is_set() and worker not in self._retiring:
                failures, previous = 0, worker  # it serves until its successor does
                continue
            if worker.replaced or (worker.running_at_end and not self._cautious):
                failures = 1
            else:
                healthy = asyncio.get_running_loop().time() - started_at > HEALTHY_AFTER
                failures = 1 if healthy else failures + 1
            await self._delay_restart(number, reason, failures)

    async def _start_worker(self, worker: WorkerProcess, first_start: asyncio.Future[None]) -> None:
        await worker.start(self._launch)
        self.alive[worker.pid] = self.serving[worker.pid] = worker
        self._changed.set()
        replaced = first_start.done()
        if not first_start.done():
            first_start.set_result(None)
        await self._events.prepare(worker)
        worker.prepared = True
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
            self._events.down(self.down)
        await asyncio.sleep(delay)

    def _forget(self, worker: WorkerProcess) -> None:
        if self.alive.get(worker.pid) is worker:
            del self.alive[worker.pid]
            self.serving.pop(worker.pid, None)

    def _retire(self, worker: WorkerProcess, patience: float, grace: float) -> None:
        """Send a worker no more requests, and end it when it has answered those that it has.

        Args:
            worker: the worker.
            patience: seconds after which it is ended all the same.
            grace: seconds in which it may unload its models.
        """
        self._forget(worker)
        if worker.ended.is_set():
            return
        task = asyncio.create_task(_drain(worker, patience, grace))
        self._retiring[worker] = task
        task.add_done_callback(lambda _: self._retiring.pop(worker, None))


async def _drain(worker: WorkerProcess, patience: float, grace: float) -> None:
    try:
        async with asyncio.timeout(patience):
            await worker.drain()
    except TimeoutError:
        logger.warning("Worker %d is ended with %d requests still running", worker.number, worker.requests)
    if grace:
        await worker.stop(grace)
    else:
        worker.kill()
        await worker.wait_ended()
