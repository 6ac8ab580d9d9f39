"""Wait queue: requests that wait for a slot of a worker."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from attrs import define

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv_workers.pool.worker_process import WorkerProcess

_LOWEST_PRIORITY = 1 << 32
"""The order of priority 0, which stands for "none given" and comes after every given priority."""


@define(eq=False)
class QueuedRequest:
    """One queued request.

    Attributes:
        model: id of the placement.
        granted: the worker in which a slot is reserved for the request.
        counted: True while the request is part of the queue's length.
    """

    model: int
    context: CallContext
    granted: asyncio.Future[WorkerProcess]
    counted: bool = True


class WaitQueue:
    """A queue ordered by priority, then arrival.

    The kernel's admission limits bound its length; cancelled requests are removed from time to time.

    Attributes:
        length: number of requests that wait.
    """

    def __init__(self) -> None:
        self.length = 0
        self._heap: list[tuple[int, int, QueuedRequest]] = []
        self._arrivals = itertools.count()

    def add(self, model: int, context: CallContext) -> QueuedRequest:
        """Add a request to the queue."""
        queued = QueuedRequest(model, context, asyncio.get_running_loop().create_future())
        heapq.heappush(self._heap, (context.priority or _LOWEST_PRIORITY, next(self._arrivals), queued))
        self.length += 1
        return queued

    def remove(self, queued: QueuedRequest) -> None:
        """Remove a request that was cancelled."""
        self._discount(queued)
        if self.length * 2 < len(self._heap):
            self._rebuild([entry for entry in self._heap if entry[2].counted])

    def serve(self, has_room: Callable[[], bool], take: Callable[[int], WorkerProcess | None]) -> None:
        """Grant workers to requests while `has_room` returns True.

        Args:
            has_room: returns True while any worker has a free slot.
            take: takes a slot for a model and returns its worker, or None if no such worker has one.
        """
        remaining: list[tuple[int, int, QueuedRequest]] = []
        unserved: set[int] = set()
        while self._heap and has_room():
            entry = heapq.heappop(self._heap)
            queued = entry[2]
            if queued.granted.done():
                self._discount(queued)
                continue
            worker = None if queued.model in unserved else take(queued.model)
            if worker is None:
                unserved.add(queued.model)
                remaining.append(entry)
            else:
                queued.granted.set_result(worker)
                self._discount(queued)
        for entry in remaining:
            heapq.heappush(self._heap, entry)

    def refuse(self, error: Callable[[], MLSrvError], model: int | None = None) -> None:
        """Fail all requests, or those for one model, with an error of their own each."""
        remaining: list[tuple[int, int, QueuedRequest]] = []
        for entry in self._heap:
            queued = entry[2]
            if queued.granted.done():
                self._discount(queued)
            elif model is None or queued.model == model:
                queued.granted.set_exception(error())
                queued.granted.exception()  # marks it as retrieved: its request may just be cancelled
                self._discount(queued)
            else:
                remaining.append(entry)
        self._rebuild(remaining)

    def _discount(self, queued: QueuedRequest) -> None:
        # At most once: a cancelled request may be found here before `remove` is called for it.
        if queued.counted:
            queued.counted = False
            self.length -= 1

    def _rebuild(self, entries: list[tuple[int, int, QueuedRequest]]) -> None:
        heapq.heapify(entries)
        self._heap = entries
