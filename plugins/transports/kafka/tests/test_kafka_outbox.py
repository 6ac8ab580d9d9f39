"""Outbox: nothing that was given to it is lost or overtaken, whatever its producer does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from mlsrv.metrics import nothing
from mlsrv_kafka.client_config import producer_config
from mlsrv_kafka.outbox import Outbox, make_producer
from mlsrv_kafka.records import Outgoing
from mlsrv_kafka.settings import KafkaSettings

SECONDS = 60


class Sent:
    """Records that were given to an outbox, and what became of them."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.delivered: list[bytes] = []
        self.refused: dict[bytes, str] = {}

    def send(self, value: Any, topic: str = "out", key: bytes | None = b"k", **more: Any) -> None:
        self.outbox.send(
            Outgoing(
                topic,
                key,
                value,
                [("a", b"b")],
                lambda: self.delivered.append(value),
                lambda reason: self.refused.__setitem__(value, reason),
                **more,
            )
        )


@pytest.fixture
def outbox_of() -> Iterator[Callable[..., Sent]]:
    """Makes outboxes of a broker; keywords of librdkafka have ``_`` for the dots."""
    made: list[Outbox] = []

    def make(servers: str, **keys: Any) -> Sent:
        given = {name.replace("_", "."): value for name, value in keys.items()}
        config = producer_config(KafkaSettings(kafka_servers=servers, kafka_producer=given))
        outbox = Outbox(lambda: make_producer(config | {"log_level": 0}), nothing)
        made.append(outbox)
        outbox.start()
        return Sent(outbox)

    yield make
    for outbox in made:
        outbox.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_records_are_confirmed_in_order(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers)
    values = [b"%d" % number for number in range(500)]
    for value in values:
        sent.send(value)
    assert sent.outbox.flush(SECONDS) == 0
    assert sent.delivered == values
    found = mock.receive("out", 500)
    assert [message.value() for message in found] == values
    assert found[0].headers() == [("a", b"b")]


def test_a_timestamp_is_kept(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers)
    sent.send(b"x", timestamp=1234567)
    assert sent.outbox.flush(SECONDS) == 0
    assert mock.receive("out", 1)[0].timestamp()[1] == 1234567


def test_a_full_queue_keeps_the_order(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers, queue_buffering_max_messages=10)
    values = [b"%d" % number for number in range(300)]
    for value in values:
        sent.send(value)
    assert sent.outbox.flush(SECONDS) == 0
    assert sent.delivered == values
    assert [message.value() for message in mock.receive("out", 300)] == values


def test_what_can_never_be_written_is_refused(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers, message_max_bytes=5000)
    for value in (b"x" * 10_000, b"fine", "\ud800"):
        sent.send(value)
    assert sent.outbox.flush(SECONDS) == 0
    assert sent.delivered == [b"fine"]
    assert "too large" in sent.refused[b"x" * 10_000]
    assert len(sent.refused) == 2
    assert sent.outbox.failing_since is None


def test_a_producer_that_does_not_deliver_is_replaced(outbox_of: Callable[..., Sent], mock: Any) -> None:
    """The first producer speaks to nobody; what it was given is sent by the next one, in order."""
    config = producer_config(KafkaSettings(kafka_servers=mock.servers)) | {"log_level": 0}
    nowhere = config | {"bootstrap.servers": "127.0.0.1:9", "message.timeout.ms": 300}
    renewals: list[float] = []
    configs = iter([nowhere, nowhere, config])
    outbox = Outbox(lambda: make_producer(next(configs)), renewals.append)
    outbox.start()
    try:
        sent = Sent(outbox)
        values = [b"%d" % number for number in range(100)]
        for value in values[:50]:
            sent.send(value)
        until(lambda: outbox.failing_since is not None)
        assert "timed out" in outbox.failure
        for value in values[50:]:
            sent.send(value)
        assert outbox.flush(SECONDS) == 0
        assert sent.delivered == values
        assert outbox.failing_since is None
        assert len(renewals) == 2
        assert [message.value() for message in mock.receive("out", 100)] == values
    finally:
        outbox.close()


def test_what_is_not_confirmed_is_counted(outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of("127.0.0.1:9")
    sent.send(b"x")
    began = time.monotonic()
    assert sent.outbox.flush(0.2) == 1
    sent.outbox.close()
    assert time.monotonic() - began < 10
    assert sent.delivered == []


def test_a_topic_that_cannot_be_written_to(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers)
    sent.send(b"x")
    assert sent.outbox.flush(SECONDS) == 0
    assert sent.outbox.topic_problem("out", 10) is None
    assert outbox_of("127.0.0.1:9").outbox.topic_problem("out", 0.2) is not None


def test_unknown_keys() -> None:
    with pytest.raises(Exception, match=r"no\.such\.key"):
        make_producer({"no.such.key": 1})
    assert isinstance(make_producer({"log_level": 0}), Producer)
