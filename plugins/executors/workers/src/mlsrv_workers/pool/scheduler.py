"""Scheduler: assigns requests to workers that have a free slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelNotReady
from mlsrv_workers.pool.slot import Slot
from mlsrv_workers.pool.wait_queue import WaitQueue
from mlsrv_workers.pool.worker_process import WorkerProcess


class Scheduler:
    """Gives each request a slot of a worker, or queues it until one is free.

    Requests to synchronous and to asynchronous models, and those whose calls are short, have slots of their
    own, since a worker has few of the first and many of the others at once.

    Args:
        workers: the workers that take requests; read on each call.
        limits: slots of one worker, by `Slot`.

    Attributes:
        suspects: models whose requests have ended workers; each of their requests gets a worker of its own.
    """

    def __init__(self, workers: Mapping[int, WorkerProcess], limits: tuple[int, ...]) -> None:
        self.suspects: frozenset[int] = frozenset()
        self._workers = workers
        self._limits = limits
        self._queues = tuple(WaitQueue() for _ in Slot)
        self._queues_by_slot = tuple(zip(Slot, self._queues, strict=True))

    @property
    def queued(self) -> int:
        """Number of queued requests."""
        count = 0
        for queue in self._queues:  # asked for each request, for which `sum` takes three times as long
            count += queue.length
        return count

    def reserve(self, model: int, slot: Slot, context: CallContext) -> WorkerProcess | None:
        """Take a slot of a worker that has the model.

        The caller sends the request next, without awaiting in between.

        Args:
            model: id of the placement.
            slot: the kind of slot.
            context: context of the request.

        Returns:
            The worker, or None if there is no free slot or other requests are queued.

        Raises:
            RequestCancelled: the request was cancelled.
            DeadlineExceeded: the deadline of the request has passed.
        """
        context.check()
        return None if self._queues[slot].length else self._take(slot, model)

    async def reserve_later(
        self, model: int, slot: Slot, context: CallContext, refusal: Callable[[], str | None]
    ) -> WorkerProcess:
        """Take a slot as `reserve` does, as soon as one is free. Requests wait by priority, then by arrival.

        Args:
            model: id of the placement.
            slot: the kind of slot.
            context: context of the request.
            refusal: called before waiting; returns the reason why waiting is useless, or None.

        Raises:
            ModelNotReady: there is a refusal, now or later.
            RequestCancelled: the request was cancelled.
            DeadlineExceeded: the deadline of the request has passed.
        """
        while True:
            worker = await self._wait(model, slot, context, refusal)
            if worker.ended.is_set():
                continue
            try:
                context.check()
            except MLSrvError:
                self._release(worker, slot)
                raise
            return worker

    def serve(self) -> None:
        """Assign free slots to queued requests; to be called when a slot may have become free."""
        for slot, queue in self._queues_by_slot:
            if queue.length:
                queue.serve(partial(self._has_room, slot), partial(self._take, slot))

    def refuse(self, reason: str, model: int | None = None) -> None:
        """Fail all queued requests, or those for one model, with `ModelNotReady`."""
        for queue in self._queues:
            queue.refuse(lambda: ModelNotReady(reason), model)

    async def _wait(
        self, model: int, slot: Slot, context: CallContext, refusal: Callable[[], str | None]
    ) -> WorkerProcess:
        reason = refusal()
        if reason is not None:
            raise ModelNotReady(reason)
        queue = self._queues[slot]
        queued = queue.add(model, context)
        try:
            return await queued.granted
        except asyncio.CancelledError:
            if queued.granted.cancelled():
                queue.remove(queued)
            elif queued.granted.exception() is None:
                self._release(queued.granted.result(), slot)
            raise

    def _release(self, worker: WorkerProcess, slot: Slot) -> None:
        worker.running[slot] -= 1
        worker.alone = False
        self.serve()

    def _take(self, slot: Slot, model: int) -> WorkerProcess | None:
        """Take a slot of the least loaded worker that has the model."""
        best: WorkerProcess | None = None
        alone = bool(self.suspects) and model in self.suspects
        for worker in self._workers.values():
            if model not in worker.models or worker.running[slot] >= self._limits[slot] or worker.alone:
                continue
            if alone and any(worker.running):
                continue
            if best is None or worker.running[slot] < best.running[slot]:
                best = worker
        if best is not None:
            best.running[slot] += 1
            best.alone = alone
        return best

    def _has_room(self, slot: Slot) -> bool:
        return any(
            worker.running[slot] < self._limits[slot] and not worker.alone
            for worker in self._workers.values()
        )
