"""Outbox: writes records and keeps each until a broker has confirmed it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from time import monotonic
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from mlsrv.metrics import Recorder
from mlsrv_kafka.records import Outgoing

logger = logging.getLogger("mlsrv.kafka")

_OWN_FAULTS: Final = frozenset(
    (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.TOPIC_EXCEPTION,
    )
)
"""Codes of errors that are the record's own: it fails again whenever it is sent."""

_POLL_SECONDS: Final = 0.1
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0


class Outbox:
    """Writes records in the order in which they are given.

    A record that a broker does not confirm is sent again, by a new producer and together with all that were
    given after it: an idempotent producer does not recover from every fault, and what is sent alone later
    would be overtaken. So records may be written twice, and their order holds.

    Args:
        make: makes a producer.
        renewed: records that a new producer had to be made.

    Attributes:
        failing_since: `time.monotonic` seconds of the first failure after the last confirmation, or None.
        failure: what failed then, in words.
    """

    def __init__(self, make: Callable[[], Producer], renewed: Recorder) -> None:
        self._make = make
        self._renewed = renewed
        self.failing_since: float | None = None
        self.failure = ""
        self._lock = threading.Lock()
        self._numbers = count()
        self._undelivered: dict[int, Outgoing] = {}
        self._unsent: deque[int] = deque()
        self._producer: Producer | None = make()
        self._generation = 0
        self._broken: KafkaError | None = None
        self._pause = _FIRST_PAUSE
        self._closing = threading.Event()
        self._empty = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlsrv-kafka-producer", daemon=True)

    def start(self) -> None:
        """Begin to hear of deliveries."""
        self._thread.start()

    def send(self, outgoing: Outgoing) -> None:
        """Hand a record over. Neither blocks nor raises; may be called from any thread."""
        with self._lock:
            number = next(self._numbers)
            self._undelivered[number] = outgoing
            refusal = None
            if self._producer is None or self._unsent:
                self._unsent.append(number)
            else:
                refusal = self._hand_over(self._producer, number, outgoing)
        if refusal is not None:
            outgoing.refused(refusal)

    def topic_problem(self, topic: str, seconds: float) -> str | None:
        """Return why a topic cannot be written to as far as brokers say, or None. Blocks."""
        producer = self._producer
        if producer is None:
            return self.failure
        try:
            found = producer.list_topics(topic, timeout=seconds).topics.get(topic)
        except KafkaException as error:
            return str(error.args[0].str())
        return str(found.error.str()) if found is not None and found.error is not None else None

    def flush(self, seconds: float) -> int:
        """Wait until everything is confirmed. Blocks.

        Returns:
            How many records are not.
        """
        end = monotonic() + seconds
        while self._undelivered and (left := end - monotonic()) > 0:
            self._empty.clear()
            if self._undelivered:
                self._empty.wait(min(left, _POLL_SECONDS))
        return len(self._undelivered)

    def close(self) -> None:
        """End; what is not confirmed is forgotten. Blocks for a moment."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2 * _POLL_SECONDS + 1.0)
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            _discard(producer)

    def _run(self) -> None:
        while not self._closing.is_set():
            producer = self._producer
            if producer is None:
                self._renew()
                continue
            producer.poll(_POLL_SECONDS)
            if self._broken is not None:
                self._give_up(producer, self._broken)
            elif self._unsent:
                self._send_unsent(producer)

    def _hand_over(self, producer: Producer, number: int, outgoing: Outgoing) -> str | None:
        """Give a record to the producer. Returns why it can never be written, or None."""
        try:
            producer.produce(
                outgoing.topic,
                outgoing.value,
                outgoing.key,
                on_delivery=partial(self._reported, self._generation, number),
                timestamp=outgoing.timestamp,
                headers=outgoing.headers,  # type: ignore[arg-type]  # texts would do, too
            )
            return None
        except BufferError:
            self._unsent.append(number)
            return None
        except KafkaException as error:
            failure: KafkaError = error.args[0]
            if failure.code() not in _OWN_FAULTS:
                self._unsent.append(number)
                self._broken = failure
                return None
            reason = failure.str()
        except (TypeError, ValueError) as error:
            reason = str(error)
        del self._undelivered[number]
        return str(reason)

    def _reported(self, generation: int, number: int, error: KafkaError | None, _message: Message) -> None:
        """Take a delivery report; runs in `Producer.poll`."""
        if generation != self._generation:
            return  # of a producer that was given up: the record was sent again
        if error is not None and error.code() not in _OWN_FAULTS:
            if self._broken is None:
                self._broken = error
            return
        outgoing = self._undelivered.pop(number, None)
        if not self._undelivered:
            self._empty.set()
        if outgoing is None:
            return
        if error is not None:
            outgoing.refused(str(error.str()))
            return
        if self.failing_since is not None:
            logger.info("Answers are written again, after %s", self.failure)
            self.failing_since, self._pause = None, _FIRST_PAUSE
        outgoing.delivered()

    def _give_up(self, producer: Producer, error: KafkaError) -> None:
        """Forget a producer that did not deliver; all that is not confirmed becomes unsent."""
        self.failure = str(error.str())
        if self.failing_since is None:
            self.failing_since = monotonic()
            logger.warning("Answers cannot be written and are sent again: %s", self.failure)
        with self._lock:
            self._producer, self._broken = None, None
            self._generation += 1
            self._unsent = deque(self._undelivered)
        _discard(producer)

    def _renew(self) -> None:
        """Make a new producer after a pause, and send everything again."""
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        if self._closing.wait(pause):
            return
        self._renewed(1.0)
        producer = self._make()
        with self._lock:
            self._producer = producer
        self._send_unsent(producer)

    def _send_unsent(self, producer: Producer) -> None:
        refused: list[tuple[Outgoing, str]] = []
        with self._lock:
            unsent, self._unsent = self._unsent, deque()
            while unsent and not self._unsent:
                number = unsent.popleft()
                outgoing = self._undelivered[number]
                reason = self._hand_over(producer, number, outgoing)
                if reason is not None:
                    refused.append((outgoing, reason))
            self._unsent.extend(unsent)
        for outgoing, reason in refused:
            outgoing.refused(reason)


def _discard(producer: Producer) -> None:
    """Drop a producer and what it still holds, without a word of its own about that."""
    try:
        producer.purge()
        producer.poll(0)
    except KafkaException as error:
        logger.debug("A producer could not be emptied: %s", error)


def make_producer(config: Mapping[str, Any]) -> Producer:
    """Return a producer. Raises `confluent_kafka.KafkaException` for keys or values that are unknown."""
    return Producer(dict(config))
