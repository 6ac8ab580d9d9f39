"""Consumer: the one thread that reads partitions and commits what is done with.

Everything that concerns the consumer of the client library happens in this thread, commits included: its
calls do not return while another thread reads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from mlsrv_kafka.health import Health
from mlsrv_kafka.partition import Partition, Record

logger = logging.getLogger("mlsrv.kafka")

MOST_IN_FLIGHT: Final = 4000
"""Records that may be read and not done with, all partitions together; half of them before more are read."""
MOST_AHEAD: Final = 5000
"""Records of one partition that may be read beyond its oldest unfinished one."""
MOST_BYTES: Final = 64 * 2**20
"""Bytes of the values of records that may be read and not done with; a larger one is read alone."""

_READ_SECONDS: Final = 0.1
_MOST_AT_ONCE: Final = 500
_COMMIT_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = 1.0
_HOLD_SECONDS: Final = 0.2
_FULL_SECONDS: Final = 0.005
_REVOKE_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class PartitionConsumer:
    """Reads records and hands them over, as far as there is room for more.

    Args:
        config: of the client library.
        topics: to subscribe to.
        hand_over: takes records that were read; called in the consumer's thread.
        health: is told whether partitions can be read.

    Attributes:
        partitions: those that are assigned, by topic and number. Only the thread changes it.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topics: Sequence[str],
        hand_over: Callable[[Sequence[Record]], object],
        health: Health,
    ) -> None:
        self._config = {**config, "error_cb": self._on_error, "on_commit": self._on_commit}
        self._topics = list(topics)
        self._hand_over = hand_over
        self._health = health
        self.partitions: dict[tuple[str, int], Partition] = {}
        self._settled: deque[tuple[Record, bool]] = deque()
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._in_flight = 0
        self._bytes = 0
        self._full_since: float | None = None
        self._to_resume: list[TopicPartition] = []
        self._next_commit = 0.0
        self._next_look = 0.0
        self._fatal: KafkaError | None = None
        self._missing: str | None = None
        self._consumer = Consumer(self._config)
        self._thread = threading.Thread(target=self._run, name="mlsrv-kafka-consumer", daemon=True)

    def start(self) -> None:
        """Join the group and begin to read."""
        self._thread.start()

    def settle(self, record: Record, done: bool) -> None:
        """A record is done with, or was abandoned and is answered elsewhere. Any thread may call it."""
        self._settled.append((record, done))

    def stop_reading(self) -> None:
        """Read nothing any more. Partitions stay assigned, and what is done with is committed."""
        self._stopping.set()

    def close(self, seconds: float) -> bool:
        """Commit, and leave the group. Blocks.

        Returns:
            Whether that was done within the time.
        """
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    # --- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            try:
                self._consume()
                return
            except KafkaException as error:
                logger.error("The consumer failed and begins anew in %g s: %s", pause, error)
            except Exception:
                logger.exception("The consumer failed and begins anew in %g s", pause)
            self._health.unusable("the consumer failed; the log says why")
            self._lose(list(self.partitions.values()))
            self._closing.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            self._fatal = None
            self._consumer = Consumer(self._config)

    def _consume(self) -> None:
        consumer = self._consumer
        try:
            consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._closing.is_set():
                self._settle()
                self._control(consumer)
                messages = self._read(consumer)
                if self._to_resume:
                    consumer.resume(self._to_resume)
                    self._to_resume = []
                if messages:
                    self._take(messages)
                if self._fatal is not None:
                    raise KafkaException(self._fatal)
            self._settle()
            self._commit_now(list(self.partitions.values()))
        finally:
            consumer.close()

    def _read(self, consumer: Consumer) -> list[Message]:
        if self._full_since is not None and not self._is_holding():
            # Mostly there is room again in a moment, and a pause would throw away what was fetched ahead.
            self._closing.wait(_FULL_SECONDS)
            return []
        first = consumer.poll(self._patience())
        if first is None:
            return []
        room = min(MOST_IN_FLIGHT - self._in_flight, _MOST_AT_ONCE)
        if room <= 1 or self._bytes + len(first) >= MOST_BYTES:
            return [first]
        return [first, *consumer.consume(room - 1, 0)]

    def _patience(self) -> float:
        """Seconds to wait for a record: few where others may soon be settled and make room."""
        return 0.01 if any(partition.paused for partition in self.partitions.values()) else _READ_SECONDS

    def _is_holding(self) -> bool:
        """Return whether there has been no room for so long that partitions are paused: the group must hear
        of this member all the same."""
        return self._full_since is not None and monotonic() - self._full_since > _HOLD_SECONDS

    def _control(self, consumer: Consumer) -> None:
        """Pause and resume partitions, commit, and look at the state of things, each at its time."""
        now = monotonic()
        if self._in_flight >= MOST_IN_FLIGHT or self._bytes >= MOST_BYTES:
            self._full_since = self._full_since or now
        elif self._in_flight <= MOST_IN_FLIGHT // 2 and self._bytes <= MOST_BYTES // 2:
            self._full_since = None
        holding = self._is_holding() or self._stopping.is_set()
        for partition in self.partitions.values():
            limit = MOST_AHEAD // 2 if partition.paused else MOST_AHEAD
            paused = holding or partition.ahead >= limit
            if paused is not partition.paused:
                partition.paused = paused
                place = [TopicPartition(partition.topic, partition.number)]
                (consumer.pause if paused else consumer.resume)(place)
        if now >= self._next_commit:
            self._next_commit = now + _COMMIT_SECONDS
            self._commit(consumer)
        if now >= self._next_look:
            self._next_look = now + _PROBE_SECONDS
            self._look(consumer)

    def _look(self, consumer: Consumer) -> None:
        for (topic, number), partition in self.partitions.items():
            _, partition.high = consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
        if self._missing is not None and not self.partitions:
            self._health.unusable(f"the topic {self._missing} does not exist")
        if self._health.brokers_down:
            try:
                consumer.list_topics(timeout=_PROBE_SECONDS / 2)
            except KafkaException:
                return  # still away
            self._health.reached()

    def _take(self, messages: Sequence[Message]) -> None:
        now = monotonic()
        records: list[Record] = []
        taken: dict[Partition, list[Record]] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                self._heard(error, message.topic())
                continue
            partition = self.partitions.get((message.topic(), message.partition()))  # type: ignore[arg-type]  # of a record, both are known
            if partition is None:
                continue  # revoked while it was read
            _, timestamp = message.timestamp()
            record = Record(
                partition,
                message.offset(),  # type: ignore[arg-type]  # as above
                message.key(),
                message.value(),
                message.headers() or [],  # type: ignore[arg-type]  # values are bytes
                max(timestamp, 0),
                now,
            )
            records.append(record)
            taken.setdefault(partition, []).append(record)
        for partition, new in taken.items():
            before = partition.bytes
            partition.take(new)
            self._in_flight += len(new)
            self._bytes += partition.bytes - before
        if records:
            self._health.reached()
            self._hand_over(records)

    def _settle(self) -> None:
        settled = self._settled
        while settled:
            record, done = settled.popleft()
            partition = record.partition
            partition.settled += 1
            partition.abandoned |= not done
            if done and not partition.lost:
                self._in_flight -= 1
                self._bytes -= record.size
                partition.finish(record)

    # --- commits ------------------------------------------------------------------------------------------

    def _commit(self, consumer: Consumer) -> None:
        offsets = []
        for partition in self.partitions.values():
            watermark = partition.watermark
            if watermark is not None and watermark != partition.asked:
                partition.asked = watermark
                offsets.append(TopicPartition(partition.topic, partition.number, watermark))
        if not offsets:
            return
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], offsets)

    def _on_commit(self, error: KafkaError | None, offsets: Sequence[TopicPartition]) -> None:
        for offset in offsets:
            partition = self.partitions.get((offset.topic, offset.partition))
            if partition is None:
                continue
            failure = error or offset.error
            if failure is None:
                partition.committed = offset.offset
                self._health.reached()
            else:
                partition.asked = partition.committed  # so that it is asked for again
                logger.info("The commit of %s/%d failed: %s", offset.topic, offset.partition, failure.str())

    def _commit_now(self, partitions: Sequence[Partition]) -> None:
        """Commit and wait for it. What fails is logged: those records are answered once more."""
        offsets = [
            TopicPartition(partition.topic, partition.number, watermark)
            for partition in partitions
            if (watermark := partition.watermark) is not None and watermark != partition.committed
        ]
        if not offsets:
            return
        try:
            if self._health.brokers_down:
                raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
            self._on_commit(None, self._consumer.commit(offsets=offsets, asynchronous=False) or [])
        except KafkaException as error:
            logger.warning(
                "The last commit failed, so that some records will be answered again: %s", error.args[0].str()
            )

    # --- the group ----------------------------------------------------------------------------------------

    def _on_assign(self, _consumer: Consumer, assigned: Sequence[TopicPartition]) -> None:
        for place in assigned:
            self.partitions[place.topic, place.partition] = Partition(place.topic, place.partition)
        # A partition that was paused when it was revoked is paused still.
        self._to_resume += [TopicPartition(place.topic, place.partition) for place in assigned]
        self._health.reached()
        if assigned:
            self._missing = None
            logger.info("Reading %s", _listed(assigned))

    def _on_revoke(self, consumer: Consumer, revoked: Sequence[TopicPartition]) -> None:
        """Finish what is being answered, commit, and give the partitions up."""
        partitions = self._of(revoked)
        for partition in partitions:
            partition.revoked = True
        end = monotonic() + _REVOKE_SECONDS
        self._settle()
        while any(partition.is_in_work for partition in partitions) and monotonic() < end:
            time.sleep(_FULL_SECONDS)
            self._settle()
        self._commit_now(partitions)
        self._lose(partitions)
        if revoked:
            logger.info("No longer reading %s", _listed(revoked))

    def _on_lost(self, _consumer: Consumer, lost: Sequence[TopicPartition]) -> None:
        self._lose(self._of(lost))
        if lost:
            logger.warning("Lost %s: the group did not hear of this server in time", _listed(lost))

    def _of(self, places: Sequence[TopicPartition]) -> list[Partition]:
        known = (self.partitions.get((place.topic, place.partition)) for place in places)
        return [partition for partition in known if partition is not None]

    def _lose(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            partition.revoked = partition.lost = True
            self._in_flight -= partition.in_flight
            self._bytes -= partition.bytes
            del self.partitions[partition.topic, partition.number]

    # --- what brokers say ---------------------------------------------------------------------------------

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._health.lost_brokers(self._config["bootstrap.servers"])
        self._heard(error, None)

    def _heard(self, error: KafkaError, topic: str | None) -> None:
        if error.fatal():
            self._fatal = error
        elif error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            self._missing = topic or "of the subscription"
            logger.warning("Waiting for the topic %s, which does not exist", self._missing)
        elif error.code() != KafkaError._PARTITION_EOF:
            self._health.heard(error.str())


def _listed(places: Sequence[TopicPartition]) -> str:
    return ", ".join(sorted(f"{place.topic}/{place.partition}" for place in places))
