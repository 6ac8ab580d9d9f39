"""Outbox: writes records and keeps each until a broker has confirmed it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
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

_BUSY_SECONDS: Final = 0.005
_IDLE_SECONDS: Final = 0.25
"""Seconds between two looks for delivery reports while records are unconfirmed, and while none is."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
_DISCARD_SECONDS: Final = 2.0
_LATE_SECONDS: Final = 5.0
"""Seconds after which a record that is not confirmed counts as a failure to write; it is not given up."""


class Outbox:
    """Writes records in the order in which they are given. It belongs to the event loop.

    What is given in one turn of the loop goes to the producer together, and delivery reports are taken on the
    loop, too: a thread for them would fight it for the interpreter with each single report.

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
        self._loop = asyncio.get_running_loop()
        self._undelivered: dict[Outgoing, None] = {}
        self._unsent: deque[Outgoing] = deque()
        self._producer: Producer | None = make()
        self._generation = 0
        self._report = partial(self._reported, 0)
        self._broken: KafkaError | None = None
        self._pause = _FIRST_PAUSE
        self._work: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_busy = False
        self._renewing: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()

    def start(self) -> None:
        """Begin to hear of deliveries."""
        self._tick()

    def send(self, outgoing: Outgoing) -> None:
        """Hand a record over. Neither blocks nor raises."""
        self._undelivered[outgoing] = None
        self._unsent.append(outgoing)
        if self._work is None:
            self._work = self._loop.call_soon(self._send_given)

    def topic_problem(self, topic: str, seconds: float) -> str | None:
        """Return why a topic cannot be written to as far as brokers say, or None. Blocks; for any thread."""
        producer = self._producer
        if producer is None:
            return self.failure
        try:
            found = producer.list_topics(topic, timeout=seconds).topics.get(topic)
        except KafkaException as error:
            return str(error.args[0].str())
        return str(found.error.str()) if found is not None and found.error is not None else None

    async def flush(self, seconds: float) -> int:
        """Wait until everything is confirmed.

        Returns:
            How many records are not.
        """
        self._empty.clear()
        if self._undelivered:
            try:
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
            except TimeoutError:
                pass  # the count that is returned tells
        return len(self._undelivered)

    async def close(self) -> None:
        """End; what is not confirmed is forgotten."""
        for handle in (self._work, self._timer, self._renewing):
            if handle is not None:
                handle.cancel()
        await asyncio.to_thread(self._discard().join, _DISCARD_SECONDS)

    def _tick(self) -> None:
        """Look for delivery reports, now and after a time."""
        self._look()
        self._is_busy = bool(self._undelivered)
        if self._is_busy and self.failing_since is None:
            waited = monotonic() - next(iter(self._undelivered)).given
            if waited > _LATE_SECONDS:
                self._fails(f"no broker has confirmed one for {waited:.0f} s")
        self._timer = self._loop.call_later(_BUSY_SECONDS if self._is_busy else _IDLE_SECONDS, self._tick)

    def _send_given(self) -> None:
        """Send what was given in the last turn of the loop."""
        self._work = None
        if not self._is_busy:
            if self._timer is not None:
                self._timer.cancel()
            self._tick()
        else:
            self._look()

    def _look(self) -> None:
        """Send what is unsent, and take the delivery reports that there are."""
        if self._producer is None:
            return
        # First what has become of earlier records: one that failed must not be overtaken.
        self._producer.poll(0)
        if self._broken is None and self._unsent:
            self._send_unsent(self._producer)
        if self._broken is not None:
            self._give_up(self._broken)

    def _send_unsent(self, producer: Producer) -> None:
        unsent, report = self._unsent, self._report
        while unsent:
            outgoing = unsent[0]
            try:
                producer.produce(
                    outgoing.topic,
                    outgoing.value,
                    outgoing.key,
                    on_delivery=partial(report, outgoing),
                    timestamp=outgoing.timestamp,
                    headers=outgoing.headers,  # type: ignore[arg-type]  # texts would do, too
                )
            except BufferError:
                return  # until delivery reports have made room
            except KafkaException as error:
                failure: KafkaError = error.args[0]
                if failure.code() not in _OWN_FAULTS:
                    self._broken = failure
                    return
                self._settled(outgoing, failure.str())
            except (TypeError, ValueError) as error:
                self._settled(outgoing, str(error))
            unsent.popleft()

    def _reported(self, generation: int, outgoing: Outgoing, error: KafkaError | None, _: Message) -> None:
        """Take a delivery report; runs in `Producer.poll`."""
        if generation != self._generation:
            return  # of a producer that was given up: the record was sent again
        if error is None:
            if self.failing_since is not None:
                logger.info("Answers are written again, after %s", self.failure)
                self.failing_since, self._pause = None, _FIRST_PAUSE
            self._settled(outgoing, None)
        elif error.code() in _OWN_FAULTS:
            self._settled(outgoing, str(error.str()))
        elif self._broken is None:
            self._broken = error

    def _settled(self, outgoing: Outgoing, refusal: str | None) -> None:
        """A record is confirmed, or can never be written, for a reason."""
        del self._undelivered[outgoing]
        if refusal is None:
            outgoing.delivered()
        else:
            outgoing.refused(refusal)
        if not self._undelivered:
            self._empty.set()

    def _give_up(self, error: KafkaError) -> None:
        """Forget a producer that did not deliver; all that is not confirmed becomes unsent."""
        self._fails(str(error.str()))
        self._generation += 1
        self._report = partial(self._reported, self._generation)
        self._broken = None
        self._unsent = deque(self._undelivered)
        self._discard()
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())

    def _fails(self, failure: str) -> None:
        self.failure = failure
        if self.failing_since is None:
            self.failing_since = monotonic()
            logger.warning("Answers cannot be written and are sent again: %s", failure)

    async def _renew(self) -> None:
        """Make a new producer after a pause, and send everything again."""
        while self._producer is None:
            pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)
            self._renewed(1.0)
            try:
                self._producer = await asyncio.to_thread(self._make)
            except KafkaException as error:  # a file of its settings may be away for a moment
                self.failure = str(error.args[0].str())
                logger.warning("A new producer cannot be made: %s", self.failure)
        self._renewing = None
        self._look()

    def _discard(self) -> threading.Thread:
        """Drop the producer in a thread, for that may take a moment."""
        thread = threading.Thread(
            target=_discard, args=[self._producer], name="mlsrv-kafka-discard", daemon=True
        )
        self._producer = None
        thread.start()
        return thread


def _discard(producer: Producer | None) -> None:
    """Drop a producer and what it still holds, without a word of its own about that."""
    if producer is None:
        return
    try:
        producer.purge()
        producer.poll(0)
    except KafkaException as error:
        logger.debug("A producer could not be emptied: %s", error)


def make_producer(config: Mapping[str, Any]) -> Producer:
    """Return a producer. Raises `confluent_kafka.KafkaException` for keys or values that are unknown."""
    return Producer(dict(config))
