"""Scheduler: which records are answered now, and which wait for others of their lane."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Final

from mlsrv_kafka.partition import Record

logger = logging.getLogger("mlsrv.kafka")

_IN_A_ROW: Final = 16
"""Records that one task answers before it lets others run."""


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
        self._waiting: dict[Hashable, deque[Record]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def submit(self, records: Iterable[Record]) -> None:
        """Have records answered, each once its lane and the concurrency let it."""
        if self._closed:
            return
        for record in records:
            lane = self._lane(record)
            if lane is None:
                self._ready.append((None, record))
            elif lane in self._waiting:
                self._waiting[lane].append(record)
            else:
                self._waiting[lane] = deque()
                self._ready.append((lane, record))
        self._start_tasks()

    async def drain(self, seconds: float) -> int:
        """Begin no further record, and wait for those that are being answered; then cancel them.

        Returns:
            How many were cancelled.
        """
        self._closed = True
        self._ready.clear()
        self._waiting.clear()
        if not self._tasks:
            return 0
        _, running = await asyncio.wait(self._tasks, timeout=seconds)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=1.0)
        return len(running)

    def _start_tasks(self) -> None:
        for _ in range(min(len(self._ready), self._concurrency - len(self._tasks))):
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        in_a_row = 0
        while self._ready:
            lane, record = self._ready.popleft()
            try:
                await self._answer(record)
            finally:
                self._leave(lane)
            in_a_row += 1
            if in_a_row == _IN_A_ROW:
                in_a_row = 0
                await asyncio.sleep(0)

    def _leave(self, lane: Hashable | None) -> None:
        waiting = self._waiting.get(lane)
        if waiting is None:
            return
        if waiting:
            self._ready.append((lane, waiting.popleft()))
        else:
            del self._waiting[lane]
