"""Hands requests to workers that have room for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelNotReady
from mlsrv_workers.pool.wait_queue import Line
from mlsrv_workers.pool.worker_process import WorkerProcess


class Dispatcher:
    """Gives each request a free worker, or has it wait for one.

    Requests to synchronous and to asynchronous models have room of their own, for a worker runs few of the
    first and many of the second side by side.

    Args:
        workers: those that live now.
        limits: how many requests to synchronous and to asynchronous models one worker has at once.
    """

    def __init__(self, workers: Mapping[int, WorkerProcess], limits: tuple[int, int]) -> None:
        self._workers = workers
        self._limits = limits
        self._lines = (Line(), Line())

    @property
    def queued(self) -> int:
        """Requests that wait."""
        first, second = self._lines
        return first.length + second.length

    def reserve(self, model: int, kind: bool, context: CallContext) -> WorkerProcess | None:
        """A worker that has the model, with room for one more request that is taken by this call; None if
        there is none, or others wait. The request is sent next, without waiting in between.

        Args:
            model: id of the placement.
            kind: whether it is asynchronous.
            context: of the request.

        Raises:
            RequestCancelled, DeadlineExceeded: nobody waits for the answer any more.
        """
        context.check()
        return None if self._lines[kind].length else self._take(kind, model)

    async def reserve_later(
        self, model: int, kind: bool, context: CallContext, refusal: Callable[[], str | None]
    ) -> WorkerProcess:
        """As `reserve`, as soon as there is such a worker. Requests wait by their priority, then in turn.

        Args:
            refusal: asked before waiting: why that would be in vain, or None.

        Raises:
            ModelNotReady: there is a refusal, now or later.
            RequestCancelled, DeadlineExceeded: as `reserve`.
        """
        while True:
            worker = await self._wait(model, kind, context, refusal)
            if worker.ended.is_set():
                continue
            try:
                context.check()
            except MLSrvError:
                self._free(worker, kind)
                raise
            return worker

    def serve(self) -> None:
        """Hand out the room that there is; to be called when there may be more."""
        for kind in (False, True):
            if self._lines[kind].length:
                self._lines[kind].serve(partial(self._room, kind), partial(self._take, kind))

    def refuse(self, reason: str, model: int | None = None) -> None:
        """Send all away that wait, or all that wait for one model, with a `ModelNotReady`."""
        for line in self._lines:
            line.refuse(lambda: ModelNotReady(reason), model)

    async def _wait(
        self, model: int, kind: bool, context: CallContext, refusal: Callable[[], str | None]
    ) -> WorkerProcess:
        reason = refusal()
        if reason is not None:
            raise ModelNotReady(reason)
        line = self._lines[kind]
        waiting = line.join(model, context)
        try:
            return await waiting.granted
        except asyncio.CancelledError:
            if waiting.granted.cancelled():
                line.leave(waiting)
            elif waiting.granted.exception() is None:
                self._free(waiting.granted.result(), kind)
            raise

    def _free(self, worker: WorkerProcess, kind: bool) -> None:
        worker.running[kind] -= 1
        self.serve()

    def _take(self, kind: bool, model: int) -> WorkerProcess | None:
        """The least loaded worker that has the model and room, with one more request on it."""
        best: WorkerProcess | None = None
        for worker in self._workers.values():
            if model not in worker.models or worker.running[kind] >= self._limits[kind]:
                continue
            if best is None or worker.running[kind] < best.running[kind]:
                best = worker
        if best is not None:
            best.running[kind] += 1
        return best

    def _room(self, kind: bool) -> bool:
        return any(worker.running[kind] < self._limits[kind] for worker in self._workers.values())
