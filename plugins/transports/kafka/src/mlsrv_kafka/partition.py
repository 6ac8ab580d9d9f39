"""Partition: the records that were read from it, and up to where everything is done with."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from attrs import define

from mlsrv_kafka.observing import Observation
from mlsrv_kafka.records import RawHeaders


@define(eq=False)
class Record:
    """A record that was read.

    Attributes:
        partition: from which it was read.
        offset: in that partition.
        key, value, headers: as the client library gives them.
        timestamp: milliseconds since the epoch, or 0 if it has none.
        taken: `time.monotonic` seconds at which it was read.
        observation: of a plugin that observes records.
    """

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: RawHeaders
    timestamp: int
    taken: float
    observation: Observation | None = None

    @property
    def source(self) -> str:
        """The place that it came from: ``topic/partition/offset``."""
        return f"{self.partition.name}/{self.offset}"

    @property
    def size(self) -> int:
        """Bytes of its value."""
        return len(self.value) if self.value is not None else 0


class Partition:
    """One assignment of a partition. The consumer's thread owns it; others read `revoked` and `lost`, and the
    event loop alone changes `begun` and `farthest`.

    Offsets need not be consecutive: compaction and transactions leave gaps.

    Attributes:
        topic, number: of the partition.
        name: ``topic/number``.
        revoked: whether it is about to be given up: no record beyond `farthest` is begun any more.
        lost: whether it is given up: what is still answered is thrown away, for another member does it again.
        farthest: the largest offset whose answering began; -1 before the first. Those below it are answered
            even at the end: what is done with beyond an unfinished record would be answered again.
        abandoned: whether a record was left unanswered.
        begun: records whose answering began.
        settled: those of them that are done with, or were abandoned.
        in_flight: records that were read and are not done with.
        bytes: of their values.
        committed: offset up to which a broker has confirmed a commit; None before the first.
        asked: offset of the latest commit that was asked for.
        high: the offset after the newest record, as far as known; -1 if not.
        paused: whether reading is paused.
    """

    def __init__(self, topic: str, number: int) -> None:
        self.topic = topic
        self.number = number
        self.name = f"{topic}/{number}"
        self.revoked = False
        self.lost = False
        self.farthest = -1
        self.abandoned = False
        self.begun = 0
        self.settled = 0
        self.in_flight = 0
        self.bytes = 0
        self.committed: int | None = None
        self.asked: int | None = None
        self.high = -1
        self.paused = False
        self._unfinished: deque[Record] = deque()
        self._done: set[int] = set()
        self._next: int | None = None

    def take(self, records: Sequence[Record]) -> None:
        """Records were read, in rising order of their offsets."""
        self._unfinished.extend(records)
        self.in_flight += len(records)
        self.bytes += sum(record.size for record in records)
        self._next = records[-1].offset + 1

    def finish(self, record: Record) -> None:
        """A record is done with: its answer is confirmed, or it is given up."""
        self.in_flight -= 1
        self.bytes -= record.size
        unfinished, done = self._unfinished, self._done
        if unfinished[0] is not record:
            done.add(record.offset)
            record.value, record.headers = None, []  # it may wait long for older ones
            return
        unfinished.popleft()
        while unfinished and unfinished[0].offset in done:
            done.remove(unfinished.popleft().offset)

    @property
    def watermark(self) -> int | None:
        """The offset to commit: everything below is done with. None before the first record."""
        return self._unfinished[0].offset if self._unfinished else self._next

    @property
    def is_in_work(self) -> bool:
        """True while something is being answered, or is to be answered before the partition is given up."""
        if self.settled < self.begun:
            return True
        return not self.abandoned and bool(self._unfinished) and self._unfinished[0].offset < self.farthest

    @property
    def ahead(self) -> int:
        """Records from the oldest unfinished one to the newest that was read."""
        return len(self._unfinished)

    @property
    def oldest(self) -> float | None:
        """The time at which the oldest unfinished record was read (`time.monotonic`); None without one."""
        try:
            return self._unfinished[0].taken
        except IndexError:  # another thread may have finished the last one meanwhile
            return None

    @property
    def lag(self) -> int | None:
        """Records that are not done with, the unread ones included; None if that is not known."""
        at = self.watermark if self.watermark is not None else self.committed
        return None if at is None or self.high < 0 else max(0, self.high - at)
