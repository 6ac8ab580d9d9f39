"""Asking over Kafka: raw bodies to a server's topics, and the bodies that come back, matched by key."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from mlsrv_protocol import json
from mock_broker import Mock

SECONDS = 60


class KafkaAsking:
    """Asks one server, whose topics nobody else uses.

    Args:
        broker: where it reads.
        name: of its topics and its group.
    """

    def __init__(self, broker: Mock, name: str) -> None:
        self._broker = broker
        self._input, self._answers = f"{name}-in", (f"{name}-out", f"{name}-errors")
        self._name = name
        broker.create(self._input, *self._answers)
        self._producer = Producer(
            {"bootstrap.servers": broker.servers, "log_level": 0, "linger.ms": 0, "enable.idempotence": True}
        )
        self._waiting: dict[bytes, Future[bytes]] = {}
        self._numbers = itertools.count()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def settings(self) -> dict[str, Any]:
        """Of the server."""
        output, errors = self._answers
        return self._broker.settings(
            kafka_topic_input=self._input,
            kafka_topic_output=output,
            kafka_topic_errors=errors,
            kafka_group=self._name,
            kafka_retries=0,
            kafka_producer={"linger.ms": 0},
            # The broker of the client library holds a request for records for as long as it may.
            kafka_consumer={"session.timeout.ms": 6000, "fetch.wait.max.ms": 10},
        )

    def ask(self, model: str, body: bytes, headers: dict[str, str]) -> bytes:
        """The value of the answer; of an error record, the body that HTTP would have. From any thread."""
        key = b"%d" % next(self._numbers)
        answer = self._waiting[key] = Future()
        given: Any = [("mlsrv-model", model.encode()), *((n, text.encode()) for n, text in headers.items())]
        self._producer.produce(self._input, body, key, headers=given)
        self._producer.poll(0)
        try:
            return answer.result(SECONDS)
        finally:
            del self._waiting[key]

    def close(self) -> None:
        """End."""
        self._closed.set()
        self._thread.join(SECONDS)

    def _read(self) -> None:
        config = {"bootstrap.servers": self._broker.servers, "group.id": f"{self._name}-reader"}
        consumer = Consumer(config | {"log_level": 0, "fetch.wait.max.ms": 10, "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic, number, 0) for topic in self._answers for number in range(4)])
        while not self._closed.is_set():
            message = consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            waiting = self._waiting.get(message.key() or b"")
            if waiting is not None:
                waiting.set_result(_body_of(message))
        consumer.close()


def _body_of(message: Message) -> bytes:
    for name, value in message.headers() or []:
        if name == "mlsrv-error-message" and isinstance(value, bytes):
            return json.encode_error(value.decode())
    return message.value() or b""
