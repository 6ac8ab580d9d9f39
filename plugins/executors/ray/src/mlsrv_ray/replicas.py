"""Replicas: all replicas of a model, kept at their number, and the queue in front of them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from mlsrv.errors import MLSrvError, ModelLoadError, ModelNotReady
from mlsrv.metrics import ProcessMetric
from mlsrv_ray.failures import ClusterLost, ReplicaEnded
from mlsrv_ray.replica import Replica

logger = logging.getLogger("mlsrv.ray")

LONGEST_PAUSE = 30.0
"""Seconds between two attempts to start a replica, at most."""

IDLE = 60.0
"""Seconds without a request after which a replica above the least number ends."""

INTERVAL = 1.0
"""Seconds between two looks at the queue, after which a further replica may start."""


class Replicas:
    """Keeps the replicas of one model, and gives each request to the one with the fewest.

    Args:
        name: of the model.
        first: how many replicas there are at first, and after a new connection.
        limits: how many there are at least and at most.
        start: starts and loads a replica with a number.
        on_ended: called when a replica ended unexpectedly.
    """

    def __init__(
        self,
        name: str,
        first: int,
        limits: tuple[int, int],
        start: Callable[[int], Awaitable[Replica]],
        on_ended: Callable[[], None],
    ) -> None:
        self.problem: str | None = None
        self._name = name
        self._first = first
        self._least, self._most = limits
        self._start = start
        self._on_ended = on_ended
        self._serving: list[Replica] = []
        self._waiting: deque[asyncio.Future[Replica]] = deque()
        self._numbers = itertools.count(1)
        self._starting: set[asyncio.Task[None]] = set()
        self._scaling: asyncio.Task[None] | None = None
        self._had_to_wait = False

    @property
    def count(self) -> int:
        """Number of replicas that take requests."""
        return len(self._serving)

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a replica."""
        return len(self._waiting)

    async def process_metrics(self) -> dict[int, list[ProcessMetric] | None]:
        """Return the metrics that code in the replicas made with `prometheus_client` alone, by `process`."""
        replicas = list(self._serving)
        found = await asyncio.gather(*(replica.process_metrics() for replica in replicas))
        return {replica.process: each for replica, each in zip(replicas, found, strict=True)}

    async def open(self) -> None:
        """Start the replicas: one, and if that succeeds the others side by side.

        Raises:
            MLSrvError: a replica cannot be started or loaded; none is left then.
        """
        try:
            self._add(await self._start(next(self._numbers)))
            others = [asyncio.ensure_future(self._start(next(self._numbers))) for _ in range(self._first - 1)]
            made = await asyncio.gather(*others, return_exceptions=True)
            for found in made:
                if isinstance(found, Replica):
                    self._add(found)
            failure = next((found for found in made if isinstance(found, BaseException)), None)
            if failure is not None:
                raise failure
        except ReplicaEnded as error:
            await self.close()
            raise ModelLoadError(f"Model {self._name} cannot be loaded: {error}") from error
        except BaseException:
            await self.close()
            raise
        if self._most > self._least:
            self._scaling = asyncio.create_task(self._scale(), name=f"mlsrv-ray-scale-{self._name}")

    async def close(self) -> None:
        """Unload the model everywhere. Idempotent."""
        tasks = [task for task in (*self._starting, self._scaling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        replicas, self._serving = self._serving, []
        self._refuse(ModelNotReady(f"Model {self._name} was unloaded."))
        await asyncio.gather(*(replica.unload() for replica in replicas))

    async def reserve(self) -> Replica:
        """Return the replica for a request, and count the request in its `running`; waits for one.

        Raises:
            ModelNotReady: there is none.
        """
        replica = self._free()
        if replica is None:
            if not self._serving:
                raise ModelNotReady(f"Model {self._name} is not ready: {self.problem}.")
            self._had_to_wait = True
            waiter: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                return await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                    waiter.result().running -= 1
                    self.serve()
                raise
        replica.running += 1
        return replica

    def serve(self) -> None:
        """Give free replicas to requests that wait; called whenever a request has ended."""
        while self._waiting and (replica := self._free()) is not None:
            waiter = self._waiting.popleft()
            if not waiter.done():
                replica.running += 1
                waiter.set_result(replica)

    def ended(self, replica: Replica, reason: str) -> None:
        """Replace a replica that has ended."""
        if replica not in self._serving:
            return  # it was being loaded, or the model is being unloaded
        self._serving.remove(replica)
        self._on_ended()
        logger.error("Model %s: replica %d ended: %s. It is replaced.", self._name, replica.number, reason)
        self._start_again()

    def cut(self) -> None:
        """Give all replicas up, because the connection to their cluster ends."""
        lost, self._serving = self._serving, []
        for replica in lost:
            replica.drop()
        for task in self._starting:
            task.cancel()
        self.problem = "its cluster is lost"
        self._refuse(ModelNotReady(f"Model {self._name} is not ready: {self.problem}."))

    def renew(self) -> None:
        """Start all replicas anew, after a new connection to a cluster."""
        for _ in range(self._first):
            self._start_again()

    # --- inside ---------------------------------------------------------------------------------------------

    def _free(self) -> Replica | None:
        free = [replica for replica in self._serving if replica.running < replica.limit]
        return min(free, key=lambda replica: replica.running / replica.limit, default=None)

    def _add(self, replica: Replica) -> None:
        self._serving.append(replica)
        self.problem = None
        self.serve()

    def _start_again(self) -> None:
        if not self._serving:
            self.problem = "its replicas are being replaced"
            self._refuse(ModelNotReady(f"Model {self._name} is not ready: {self.problem}."))
        task = asyncio.create_task(self._keep_starting(), name=f"mlsrv-ray-start-{self._name}")
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _keep_starting(self) -> None:
        for attempt in itertools.count():
            try:
                replica = await self._start(next(self._numbers))
            except (ReplicaEnded, ClusterLost) as error:
                pause = min(2.0**attempt, LONGEST_PAUSE)
                logger.error("Model %s: %s Next attempt in %g s.", self._name, error, pause)
                await asyncio.sleep(pause)
            except MLSrvError as error:
                logger.error("Model %s: a replica cannot load it again", self._name, exc_info=error)
                if not self._serving:
                    self.problem = f"a replaced replica cannot load it again: {error}"
                    self._refuse(ModelNotReady(f"Model {self._name} is not ready: {self.problem}"))
                return
            else:
                logger.warning("Model %s: replica %d serves", self._name, replica.number)
                self._add(replica)
                return

    async def _scale(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            needed, self._had_to_wait = self._had_to_wait and bool(self._waiting), False
            if needed and self.count + len(self._starting) < self._most:
                logger.info("Model %s: requests wait; one more replica starts", self._name)
                self._start_again()
            elif self.count > self._least:
                await self._retire()

    async def _retire(self) -> None:
        now = asyncio.get_running_loop().time()
        idle = [each for each in self._serving if not each.running and now - each.idle_since > IDLE]
        if idle:
            replica = idle[-1]
            self._serving.remove(replica)
            logger.info("Model %s: replica %d was idle and ends", self._name, replica.number)
            await replica.unload()

    def _refuse(self, error: MLSrvError) -> None:
        waiting: Any = [waiter for waiter in self._waiting if not waiter.done()]
        self._waiting.clear()
        for waiter in waiting:
            waiter.set_exception(error)
