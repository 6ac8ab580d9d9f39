"""Scheduler: lanes, concurrency, and the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from mlsrv_kafka.partition import Partition, Record
from mlsrv_kafka.scheduler import LANES, Scheduler


class Answering:
    """Answers records after a moment, and notes when."""

    def __init__(self) -> None:
        self.running: list[Record] = []
        self.most = 0
        self.ended: list[Record] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, record: Record) -> None:
        assert not any(self.same_lane(record, other) for other in self.running)
        self.running.append(record)
        self.most = max(self.most, len(self.running))
        await self.go.wait()
        for _ in range(random.Random(record.offset).randrange(4)):
            await asyncio.sleep(0)
        self.running.remove(record)
        self.ended.append(record)

    same_lane: Any = staticmethod(lambda one, other: False)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("ordering", ["key", "partition", "none"])
async def test_records_of_one_lane_follow_each_other(record: Callable[..., Record], ordering: str) -> None:
    answering = Answering()
    lane = LANES[ordering]
    answering.same_lane = lambda one, other: lane(one) is not None and lane(one) == lane(other)
    partitions = [Partition("t", number) for number in range(2)]
    records = [
        record(key=[b"a", b"b", None][n % 3], offset=n, partition=partitions[n % 2]) for n in range(200)
    ]
    scheduler = Scheduler(answering, 8, lane)
    for start in range(0, 200, 25):
        scheduler.submit(records[start : start + 25])
        await asyncio.sleep(0)
    await until(lambda: len(answering.ended) == 200)
    assert answering.most <= 8
    assert ordering != "none" or answering.most == 8
    lanes: dict[Any, list[int]] = {}
    for one in answering.ended:
        if lane(one) is not None:
            lanes.setdefault(lane(one), []).append(one.offset)
    assert all(found == sorted(found) for found in lanes.values())
    assert len(lanes) == {"key": 4, "partition": 2, "none": 0}[ordering]


async def test_one_slow_key_holds_up_no_other(record: Callable[..., Record]) -> None:
    held = asyncio.Event()
    ended: list[int] = []

    async def answer(one: Record) -> None:
        if one.key == b"slow":
            await held.wait()
        ended.append(one.offset)

    partition = Partition("t", 0)
    scheduler = Scheduler(answer, 2, LANES["key"])
    scheduler.submit([record(key=b"slow", offset=n, partition=partition) for n in range(3)])
    scheduler.submit([record(key=b"quick", offset=n, partition=partition) for n in range(3, 50)])
    await until(lambda: len(ended) == 47)
    held.set()
    await until(lambda: len(ended) == 50)
    assert ended == [*range(3, 50), 0, 1, 2]


async def test_draining_begins_nothing_more(record: Callable[..., Record]) -> None:
    answering = Answering()
    answering.go.clear()
    scheduler = Scheduler(answering, 2, LANES["none"])
    scheduler.submit([record(offset=n) for n in range(5)])
    await until(lambda: len(answering.running) == 2)
    draining = asyncio.create_task(scheduler.drain(20))
    await asyncio.sleep(0)
    answering.go.set()
    assert await draining == 0
    assert len(answering.ended) == 2
    scheduler.submit([record(offset=9)])
    await asyncio.sleep(0)
    assert len(answering.ended) == 2


async def test_draining_fills_the_gaps_below_what_was_begun(record: Callable[..., Record]) -> None:
    """Of key "a", offsets 1 and 4 wait behind 0; 3 of another key has been answered, so that a server that
    did not answer 1 before it stops would have 3 answered twice."""
    go = asyncio.Event()
    ended: list[int] = []

    async def answer(one: Record) -> None:
        if one.offset == 0:
            await go.wait()
        ended.append(one.offset)

    partition, other = Partition("t", 0), Partition("t", 1)
    scheduler = Scheduler(answer, 4, LANES["key"])
    keys = [b"a", b"a", b"b", b"c", b"a"]
    scheduler.submit([record(key=key, offset=n, partition=partition) for n, key in enumerate(keys)])
    scheduler.submit([record(key=b"a", offset=n, partition=other) for n in range(2)])
    await until(lambda: len(ended) == 2)
    draining = asyncio.create_task(scheduler.drain(20))
    await asyncio.sleep(0)
    go.set()
    assert await draining == 0
    assert sorted(ended) == [0, 0, 1, 2, 3]
    assert partition.farthest == 3


async def test_nothing_more_is_begun_of_a_revoked_partition(record: Callable[..., Record]) -> None:
    ended: list[int] = []

    async def answer(one: Record) -> None:
        one.partition.revoked = one.offset == 1
        ended.append(one.offset)

    partition = Partition("t", 0)
    scheduler = Scheduler(answer, 1, LANES["none"])
    scheduler.submit([record(offset=n, partition=partition) for n in range(4)])
    await until(lambda: not scheduler._tasks)
    assert ended == [0, 1]


async def test_draining_cuts_what_does_not_end(record: Callable[..., Record]) -> None:
    begun: list[int] = []
    cut: list[int] = []

    async def answer(one: Record) -> None:
        begun.append(one.offset)
        try:
            await asyncio.Event().wait()
        finally:
            cut.append(one.offset)

    scheduler = Scheduler(answer, 4, LANES["none"])
    scheduler.submit([record(offset=n) for n in range(3)])
    await until(lambda: len(begun) == 3)
    assert await scheduler.drain(0.05) == 3
    assert sorted(cut) == [0, 1, 2]


async def test_answers_that_wait_for_nothing_leave_the_loop_to_others(record: Callable[..., Record]) -> None:
    ended: list[int] = []

    async def answer(one: Record) -> None:
        ended.append(one.offset)

    scheduler = Scheduler(answer, 64, LANES["none"])
    scheduler.submit([record(offset=n) for n in range(1000)])
    most = 0
    while len(ended) < 1000:
        before = len(ended)
        await asyncio.sleep(0)
        most = max(most, len(ended) - before)
    assert most <= 64
    assert ended == list(range(1000))


async def test_a_record_whose_answering_fails_stops_no_other(record: Callable[..., Record]) -> None:
    ended: list[int] = []

    async def answer(one: Record) -> None:
        ended.append(one.offset)
        if one.offset % 3 == 0:
            raise asyncio.CancelledError

    partition = Partition("t", 0)
    scheduler = Scheduler(answer, 1, LANES["key"])
    scheduler.submit([record(key=b"k", offset=n, partition=partition) for n in range(20)])
    await until(lambda: len(ended) == 20)
