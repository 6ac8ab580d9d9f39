"""Client configuration: the keys of librdkafka for consumer and producer, from the settings."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from mlsrv_kafka.settings import KafkaSettings

logger = logging.getLogger("mlsrv.kafka.client")

_TIMEOUTS: Final = ("message.timeout.ms", "delivery.timeout.ms")

QUIET_SECONDS: Final = 60.0
"""Seconds for which a line of the client library is not repeated."""


def consumer_config(settings: KafkaSettings) -> dict[str, Any]:
    """Return the configuration of the consumer. What the settings give replaces the defaults, except the keys
    on which at least once depends."""
    given = {**settings.kafka_client, **settings.kafka_consumer}
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_servers,
        "client.id": "mlsrv",
        "group.id": settings.kafka_group,
        "auto.offset.reset": "earliest",
        "topic.metadata.refresh.interval.ms": 5000,
        "logger": _logger(),
    }
    if given.get("group.protocol") != "consumer":  # where brokers decide about these
        config |= {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 15_000}
    return config | given | {"enable.auto.commit": False, "enable.auto.offset.store": False}


def producer_config(settings: KafkaSettings) -> dict[str, Any]:
    """Return the configuration of the producer. What the settings give replaces the defaults, except the key
    on which order depends: a record that times out alone is overtaken by those after it."""
    given = {**settings.kafka_client, **settings.kafka_producer}
    return {
        "bootstrap.servers": settings.kafka_servers,
        "client.id": "mlsrv",
        "enable.idempotence": True,
        # Equal keys go to equal partitions, whatever language the producers of a topic are written in.
        "partitioner": "murmur2_random",
        "logger": _logger(),
        **{name: value for name, value in given.items() if name not in _TIMEOUTS},
        "message.timeout.ms": 0,  # never
    }


def is_encrypted(config: dict[str, Any]) -> bool:
    """Return whether a client with this configuration speaks TLS."""
    return "SSL" in str(config.get("security.protocol", "")).upper()


def _logger() -> logging.Logger:
    if not any(isinstance(found, Thinned) for found in logger.filters):
        logger.addFilter(Thinned())
    return logger


class Thinned(logging.Filter):
    """Lets each kind of line of the client library through once in `QUIET_SECONDS`: while a broker cannot be
    reached, it repeats the same ones many times a second. None is an error: the library tries again."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        record.levelno = min(record.levelno, logging.WARNING)
        record.levelname = logging.getLevelName(record.levelno)
        kind, now = record.getMessage()[:12], time.monotonic()
        if now - self._last.get(kind, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        self._last[kind] = now
        return True
