"""Requests that wait for a worker."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from attrs import define

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv_workers.process import WorkerProcess

_NO_PRIORITY = 1 << 32
"""Priority 0 stands for "none given" and comes after every given one."""


@define(eq=False)
class Waiting:
    """One request in a line; `granted` is the worker that has room for it."""

    model: int
    context: CallContext
    granted: asyncio.Future[WorkerProcess]


class Line:
    """A line by priority, then arrival. How long it gets is limited by what the kernel lets in; requests that
    were given up take no place in it for long."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Waiting]] = []
        self._turns = itertools.count()
        self._left = 0

    def __len__(self) -> int:
        return len(self._heap) - self._left

    def join(self, model: int, context: CallContext) -> Waiting:
        """Stand in line."""
        waiting = Waiting(model, context, asyncio.get_running_loop().create_future())
        heapq.heappush(self._heap, (context.priority or _NO_PRIORITY, next(self._turns), waiting))
        return waiting

    def leave(self) -> None:
        """One of those in the line has been cancelled."""
        self._left += 1
        if self._left * 2 > len(self._heap):
            self._keep([entry for entry in self._heap if not entry[2].granted.done()])

    def serve(self, room: Callable[[], bool], take: Callable[[int], WorkerProcess | None]) -> None:
        """Grant workers while there is `room` on any, to those for whose model `take` has one."""
        kept: list[tuple[int, int, Waiting]] = []
        nothing_for: set[int] = set()
        while self._heap and room():
            entry = heapq.heappop(self._heap)
            waiting = entry[2]
            if waiting.granted.done():
                self._left -= 1
                continue
            worker = None if waiting.model in nothing_for else take(waiting.model)
            if worker is None:
                nothing_for.add(waiting.model)
                kept.append(entry)
            else:
                waiting.granted.set_result(worker)
        for entry in kept:
            heapq.heappush(self._heap, entry)

    def refuse(self, error: Callable[[], MLSrvError], model: int | None = None) -> None:
        """Send everyone away, or everyone who waits for one model."""
        kept: list[tuple[int, int, Waiting]] = []
        for entry in self._heap:
            waiting = entry[2]
            if waiting.granted.done():
                continue
            if model is None or waiting.model == model:
                waiting.granted.set_exception(error())
                waiting.granted.exception()  # marks it as seen: its request may be cancelled at this moment
            else:
                kept.append(entry)
        self._keep(kept)

    def _keep(self, entries: list[tuple[int, int, Waiting]]) -> None:
        heapq.heapify(entries)
        self._heap = entries
        self._left = 0
