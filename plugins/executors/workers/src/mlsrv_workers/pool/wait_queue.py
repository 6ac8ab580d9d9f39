"""Requests that wait for a worker."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from attrs import define

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv_workers.pool.worker_process import WorkerProcess

_NO_PRIORITY = 1 << 32
"""Priority 0 stands for "none given" and comes after every given one."""


@define(eq=False)
class Waiting:
    """One request in a line; `granted` is the worker that has room for it, `counted` whether it is one of
    those that wait."""

    model: int
    context: CallContext
    granted: asyncio.Future[WorkerProcess]
    counted: bool = True


class Line:
    """A line by priority, then arrival. How long it gets is limited by what the kernel lets in; requests that
    were given up take no place in it for long.

    Attributes:
        length: how many wait.
    """

    def __init__(self) -> None:
        self.length = 0
        self._heap: list[tuple[int, int, Waiting]] = []
        self._turns = itertools.count()

    def join(self, model: int, context: CallContext) -> Waiting:
        """Stand in line."""
        waiting = Waiting(model, context, asyncio.get_running_loop().create_future())
        heapq.heappush(self._heap, (context.priority or _NO_PRIORITY, next(self._turns), waiting))
        self.length += 1
        return waiting

    def leave(self, waiting: Waiting) -> None:
        """One of those who joined has been cancelled."""
        self._discount(waiting)
        if self.length * 2 < len(self._heap):
            self._keep([entry for entry in self._heap if entry[2].counted])

    def serve(self, room: Callable[[], bool], take: Callable[[int], WorkerProcess | None]) -> None:
        """Grant workers while there is `room` on any, to those for whose model `take` has one."""
        kept: list[tuple[int, int, Waiting]] = []
        nothing_for: set[int] = set()
        while self._heap and room():
            entry = heapq.heappop(self._heap)
            waiting = entry[2]
            if waiting.granted.done():
                self._discount(waiting)
                continue
            worker = None if waiting.model in nothing_for else take(waiting.model)
            if worker is None:
                nothing_for.add(waiting.model)
                kept.append(entry)
            else:
                waiting.granted.set_result(worker)
                self._discount(waiting)
        for entry in kept:
            heapq.heappush(self._heap, entry)

    def refuse(self, error: Callable[[], MLSrvError], model: int | None = None) -> None:
        """Send everyone away, or everyone who waits for one model."""
        kept: list[tuple[int, int, Waiting]] = []
        for entry in self._heap:
            waiting = entry[2]
            if waiting.granted.done():
                self._discount(waiting)
            elif model is None or waiting.model == model:
                waiting.granted.set_exception(error())
                waiting.granted.exception()  # marks it as seen: its request may be cancelled at this moment
                self._discount(waiting)
            else:
                kept.append(entry)
        self._keep(kept)

    def _discount(self, waiting: Waiting) -> None:
        # Once: a request that is cancelled says so a moment later, when it may have been found here already.
        if waiting.counted:
            waiting.counted = False
            self.length -= 1

    def _keep(self, entries: list[tuple[int, int, Waiting]]) -> None:
        heapq.heapify(entries)
        self._heap = entries
