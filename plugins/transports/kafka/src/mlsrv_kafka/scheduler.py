"""Scheduler: which records are answered now, and which wait for others of their lane."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from time import monotonic
from typing import Final

from mlsrv_kafka.partition import Record

logger = logging.getLogger("mlsrv.kafka")

_IN_A_ROW: Final = 32
"""Records that are answered in one turn of the loop, where answering waits for nothing."""


def lane_by_key(record: Record) -> Hashable | None:
    """Return the lane of a record: records with the same key follow each other."""
    key = record.key
    return None if key is None else (record.partition, key)


def lane_by_partition(record: Record) -> Hashable | None:
    """Return the lane of a record: those of one partition follow each other."""
    return record.partition


def no_lane(record: Record) -> Hashable | None:
    """Return None: no record waits for another."""
    return None


LANES: Final = {"key": lane_by_key, "partition": lane_by_partition, "none": no_lane}


class Scheduler:
    """Has records answered: up to a number at once, those of one lane one after the other, in the order in
    which they were given. It belongs to the event loop.

    Args:
        answer: answers one record; must not raise.
        concurrency: how many may be answered at once.
        lane: returns the lane of a record; None for a record that waits for no other.
    """

    def __init__(
        self,
        answer: Callable[[Record], Awaitable[None]],
        concurrency: int,
        lane: Callable[[Record], Hashable | None],
    ) -> None:
        self._answer = answer
        self._concurrency = concurrency
        self._lane = lane
        self._ready: deque[tuple[Hashable | None, Record]] = deque()
        # Lanes with a record that is ready or being answered, and what waits behind it.
        self._waiting: dict[Hashable, deque[Record] | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._next: asyncio.Task[None] | None = None
        self._closed = False

    def submit(self, records: Iterable[Record]) -> None:
        """Have records answered, each once its lane and the concurrency let it."""
        if self._closed:
            return
        for record in records:
            lane = self._lane(record)
            if lane is None:
                self._ready.append((None, record))
            elif lane not in self._waiting:
                self._waiting[lane] = None
                self._ready.append((lane, record))
            elif (waiting := self._waiting[lane]) is None:
                self._waiting[lane] = deque((record,))
            else:
                waiting.append(record)
        self._start_next()

    async def drain(self, seconds: float) -> int:
        """Begin no record beyond those that were begun, and wait until all before are answered; then cancel
        what is left.

        Returns:
            How many were cancelled.
        """
        self._closed = True
        end = monotonic() + seconds
        while self._tasks and (left := end - monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        self._ready.clear()
        self._waiting.clear()
        running = set(self._tasks)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=1.0)
        return len(running)

    def _start_next(self) -> bool:
        """Have a task stand by that goes on when the present one waits. Returns whether one does."""
        if self._next is None and self._ready and len(self._tasks) < self._concurrency:
            self._next = asyncio.create_task(self._work())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._ended)
        return self._next is not None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._start_next()  # for one that was cancelled may have left records behind

    async def _work(self) -> None:
        self._next = None
        in_a_row = 0
        while self._ready:
            lane, record = self._ready.popleft()
            if self._next is None:
                self._start_next()
            try:
                if self._begins(record):
                    await self._answer(record)
            finally:
                if lane is not None:
                    self._leave(lane)
            in_a_row += 1
            if in_a_row == _IN_A_ROW:
                in_a_row = 0
                if self._start_next():
                    return
                await asyncio.sleep(0)

    def _begins(self, record: Record) -> bool:
        """Return whether a record is to be answered."""
        partition = record.partition
        if record.offset > partition.farthest:
            if self._closed or partition.revoked:
                return False
            partition.farthest = record.offset
        return not partition.lost

    def _leave(self, lane: Hashable) -> None:
        waiting = self._waiting.get(lane)
        if waiting:
            self._ready.append((lane, waiting.popleft()))
        else:
            self._waiting.pop(lane, None)
