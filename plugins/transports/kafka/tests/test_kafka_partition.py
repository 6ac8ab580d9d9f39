"""Watermarks: the offset to commit is that of the oldest record that is not done with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_kafka.partition import Partition, Record


@given(st.data())
def test_the_watermark_in_any_order(data: st.DataObject) -> None:
    offsets = sorted(data.draw(st.sets(st.integers(0, 60), min_size=1)))  # with gaps, as after compaction
    partition = Partition("t", 0)
    records = [Record(partition, offset, None, b"x" * offset, [], 0, 1.0) for offset in offsets]
    cut = data.draw(st.integers(0, len(records)))
    for part in (records[:cut], records[cut:]):
        if part:
            partition.take(part)
    left = set(offsets)
    for record in data.draw(st.permutations(records)):
        assert partition.watermark == min(left)
        partition.finish(record)
        left.remove(record.offset)
        assert partition.in_flight == len(left)
        assert partition.bytes == sum(left)
    assert partition.watermark == offsets[-1] + 1
    assert partition.ahead == 0


def test_nothing_read_yet() -> None:
    partition = Partition("t", 0)
    assert partition.watermark is None
    assert partition.oldest is None
    assert partition.lag is None


def test_lag_counts_what_is_not_done_with(record: Callable[..., Record]) -> None:
    partition = Partition("t", 0)
    partition.high = 10
    first, second = (record(offset=offset, partition=partition) for offset in (4, 5))
    partition.take([first, second])
    assert (partition.lag, partition.ahead) == (6, 2)
    partition.finish(second)
    assert (partition.lag, partition.ahead) == (6, 2)
    assert second.value is None  # only its offset is needed now
    partition.finish(first)
    assert (partition.lag, partition.ahead) == (4, 0)


def test_gaps_below_what_was_begun_are_in_work(record: Callable[..., Record]) -> None:
    partition = Partition("t", 0)
    first, second = (record(offset=offset, partition=partition) for offset in (4, 7))
    partition.take([first, second])
    assert not partition.is_in_work
    partition.begun, partition.farthest = 1, 7
    assert partition.is_in_work
    partition.settled = 1
    partition.finish(second)
    assert partition.is_in_work  # the first is to be answered before the partition is given up
    partition.abandoned = True
    assert not partition.is_in_work


def test_the_oldest_record(record: Callable[..., Record]) -> None:
    partition = Partition("t", 0)
    one = record(partition=partition)
    partition.take([one])
    assert partition.oldest == pytest.approx(one.taken)
