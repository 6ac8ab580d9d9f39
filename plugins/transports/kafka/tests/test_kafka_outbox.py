"""Outbox: nothing that was given to it is lost or overtaken, whatever its producer does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from confluent_kafka import Message, Producer

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
async def outbox_of() -> AsyncIterator[Callable[..., Sent]]:
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
        await outbox.close()


async def receive(mock: Any, count: int) -> list[Message]:
    return await asyncio.to_thread(mock.receive, "out", count)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_records_are_confirmed_in_order(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers)
    values = [b"%d" % number for number in range(500)]
    for value in values:
        sent.send(value)
    assert await sent.outbox.flush(SECONDS) == 0
    assert sent.delivered == values
    found = await receive(mock, 500)
    assert [message.value() for message in found] == values
    assert found[0].headers() == [("a", b"b")]


async def test_a_timestamp_is_kept(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers)
    sent.send(b"x", timestamp=1234567)
    assert await sent.outbox.flush(SECONDS) == 0
    assert (await receive(mock, 1))[0].timestamp()[1] == 1234567


async def test_a_full_queue_keeps_the_order(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers, queue_buffering_max_messages=10)
    values = [b"%d" % number for number in range(300)]
    for value in values:
        sent.send(value)
    assert await sent.outbox.flush(SECONDS) == 0
    assert sent.delivered == values
    assert [message.value() for message in await receive(mock, 300)] == values


async def test_what_can_never_be_written_is_refused(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers, message_max_bytes=5000)
    for value in (b"x" * 10_000, b"fine", "\ud800"):
        sent.send(value)
    assert await sent.outbox.flush(SECONDS) == 0
    assert sent.delivered == [b"fine"]
    assert "too large" in sent.refused[b"x" * 10_000]
    assert len(sent.refused) == 2
    assert sent.outbox.failing_since is None


async def test_a_producer_that_does_not_deliver_is_replaced(mock: Any) -> None:
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
        await until(lambda: outbox.failing_since is not None)
        assert "timed out" in outbox.failure
        for value in values[50:]:
            sent.send(value)
        assert await outbox.flush(SECONDS) == 0
        assert sent.delivered == values
        assert outbox.failing_since is None
        assert len(renewals) == 2
        assert [message.value() for message in await receive(mock, 100)] == values
    finally:
        await outbox.close()


async def test_what_is_not_confirmed_is_counted(outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of("127.0.0.1:9")
    sent.send(b"x")
    began = time.monotonic()
    assert await sent.outbox.flush(0.2) == 1
    await sent.outbox.close()
    assert time.monotonic() - began < 10
    assert sent.delivered == []


async def test_what_is_long_unconfirmed_counts_as_a_failure(
    outbox_of: Callable[..., Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsrv_kafka.outbox._LATE_SECONDS", 0.1)
    sent = outbox_of("127.0.0.1:9")
    sent.send(b"x")
    await until(lambda: sent.outbox.failing_since is not None)
    assert "no broker has confirmed" in sent.outbox.failure
    assert await sent.outbox.flush(0.1) == 1  # it is not given up


async def test_a_topic_that_cannot_be_written_to(mock: Any, outbox_of: Callable[..., Sent]) -> None:
    sent = outbox_of(mock.servers)
    sent.send(b"x")
    assert await sent.outbox.flush(SECONDS) == 0
    assert sent.outbox.topic_problem("out", 10) is None
    assert outbox_of("127.0.0.1:9").outbox.topic_problem("out", 0.2) is not None


def test_unknown_keys() -> None:
    with pytest.raises(Exception, match=r"no\.such\.key"):
        make_producer({"no.such.key": 1})
    assert isinstance(make_producer({"log_level": 0}), Producer)
