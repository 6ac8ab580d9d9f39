"""Kafka transport: reads requests from topics and writes answers to topics for a kernel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from confluent_kafka import KafkaException

from mlsrv.errors import ConfigurationError
from mlsrv.kernel_api import KernelAPI
from mlsrv.settings import KernelSettings
from mlsrv.transport import Transport
from mlsrv_kafka.answers import AnswerWriter
from mlsrv_kafka.client_config import consumer_config, is_encrypted, producer_config
from mlsrv_kafka.consumer import PartitionConsumer
from mlsrv_kafka.handler import RecordHandler
from mlsrv_kafka.health import Health
from mlsrv_kafka.metrics import RENEWALS
from mlsrv_kafka.observing import RecordObserver
from mlsrv_kafka.outbox import Outbox, make_producer
from mlsrv_kafka.partition import Record
from mlsrv_kafka.record_metrics import RecordMetrics, show_partitions
from mlsrv_kafka.requests import RequestReader
from mlsrv_kafka.scheduler import LANES, Scheduler
from mlsrv_kafka.settings import KafkaSettings
from mlsrv_kafka.state import Reader, State, not_started, state_of
from mlsrv_kafka.topics import InputTopics, check

logger = logging.getLogger("mlsrv.kafka")

_LOOK_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 3.0
"""Seconds beyond the grace period for the last commit and for leaving the group."""


class KafkaTransport(Transport):
    """Consumes ``kafka_topic_input`` and produces ``kafka_topic_output``, at least once."""

    extensions = ("kafka",)

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self._settings = kernel.settings.of(KafkaSettings)
        self._running: _Running | None = None
        self._endpoints: tuple[str, ...] = ()
        self._reader = kernel.shared.get(Reader, Reader)

    async def start(self) -> None:
        """Begin to join the group. Brokers need not be there yet: that is a matter of readiness.

        Raises:
            ConfigurationError: the client library does not know a key or a value of the settings.
        """
        if self._running is not None:
            return
        self._running = _Running(self.kernel, self._settings)
        self._reader.state = self._running.state
        scheme = "kafkas" if is_encrypted(consumer_config(self._settings)) else "kafka"
        first = self._settings.kafka_servers.split(",")[0].strip()
        self._endpoints = (f"{scheme}://{first}",)

    async def stop(self, grace: float) -> None:
        running, self._running = self._running, None
        self._endpoints = ()
        self._reader.state = not_started
        if running is not None:
            await running.stop(grace)

    @property
    def endpoints(self) -> Sequence[str]:
        return self._endpoints

    @property
    def problem(self) -> str | None:
        return None if self._running is None else self._running.problem


def _observer(kernel: KernelAPI) -> RecordObserver | None:
    """Return the observer of records, if a plugin has one."""
    found = kernel.each("mlsrv_kafka_observer", kernel=kernel)
    if len(found) > 1:
        plugins = " and ".join(label for label, _ in found)
        raise ConfigurationError(f"{plugins} both observe the records of Kafka; block one of them.")
    return found[0][1] if found else None


class _Running:
    """The parts that work while the transport is started."""

    def __init__(self, kernel: KernelAPI, settings: KafkaSettings) -> None:
        self._settings = settings
        given = settings.kafka_topic_input
        topics = InputTopics([given] if isinstance(given, str) else given)
        check([settings.kafka_topic_output], "kafka_topic_output")
        self._health = Health()
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(kernel, topics, _observer(kernel))
        consuming, producing = consumer_config(settings), producer_config(settings)
        try:
            self._outbox = Outbox(lambda: make_producer(producing), kernel.metrics.bind(RENEWALS))
            self._consumer = PartitionConsumer(consuming, topics.subscription, self._hand_over, self._health)
        except KafkaException as error:
            raise ConfigurationError(f"The settings of Kafka are wrong: {error.args[0].str()}") from None
        handler = RecordHandler(
            kernel,
            settings,
            self._reader,
            AnswerWriter(kernel.settings.of(KernelSettings).server_name, settings.kafka_copy_headers),
            self._outbox,
            self._consumer.settle,
            RecordMetrics(kernel.metrics),
        )
        self._scheduler = Scheduler(handler, settings.kafka_concurrency, LANES[settings.kafka_ordering])
        self._gauges: list[Callable[[], None]] = show_partitions(
            kernel.metrics, self._consumer.partitions, lambda: self._trouble() is None
        )
        self._outbox.start()
        self._consumer.start()
        self._looking = asyncio.create_task(self._look_for_topics())

    @property
    def problem(self) -> str | None:
        """The reason why no records have been answerable for longer than ``kafka_unready_after``, or None."""
        trouble, limit = self._trouble(), self._settings.kafka_unready_after
        if trouble is None or limit is None or monotonic() - trouble[0] < limit:
            return None
        return f"Kafka: {trouble[1]}."

    def _trouble(self) -> tuple[float, str] | None:
        """Return since when records cannot be read or answers not be written, and why; None if both can."""
        found = []
        since, failing = self._health.unusable_since, self._outbox.failing_since
        if since is not None:
            found.append((since, self._health.reason))
        if failing is not None:
            found.append((failing, f"answers cannot be written: {self._outbox.failure}"))
        return min(found, default=None)

    def state(self) -> State:
        """Return which topics are read, and how far."""
        trouble = self._trouble()
        return state_of(list(self._consumer.partitions.values()), None if trouble is None else trouble[1])

    def _hand_over(self, records: Sequence[Record]) -> None:
        self._loop.call_soon_threadsafe(self._scheduler.submit, records)

    async def _look_for_topics(self) -> None:
        """Warn of topics that answers cannot be written to, for that shows only with the first answer."""
        for topic in (self._settings.kafka_topic_output, self._settings.kafka_topic_errors):
            if topic is not None and "{" not in topic:
                problem = await asyncio.to_thread(self._outbox.topic_problem, topic, _LOOK_SECONDS)
                if problem is not None:
                    logger.warning("The topic %s cannot be written to as yet: %s", topic, problem)

    async def stop(self, grace: float) -> None:
        """Read no more, let what is being answered finish, commit, and leave the group."""
        end = monotonic() + grace
        for hide in self._gauges:
            hide()
        self._consumer.stop_reading()
        left = await self._scheduler.drain(grace)
        unconfirmed = await self._outbox.flush(max(end - monotonic(), 0.1))
        if left or unconfirmed:
            logger.warning(
                "Stopped with %d records in work and %d answers unconfirmed, which will be answered again",
                left,
                unconfirmed,
            )
        closed = await asyncio.to_thread(self._consumer.close, max(end - monotonic(), 0.0) + _LEAVE_SECONDS)
        if not closed:
            logger.warning("The consumer did not leave its group in time")
        await self._outbox.close()
        self._reader.close()
        self._looking.cancel()
