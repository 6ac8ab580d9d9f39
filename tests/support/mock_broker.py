"""Mock broker: the small broker that is in the client library of Kafka, on a real socket.

It is for tests of what is on our side of the socket. `brokers` has real ones.
"""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

SECONDS = 60


class Mock:
    """A broker that the client library simulates, on a real socket. It makes topics of four partitions."""

    def __init__(self) -> None:
        self._holder = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._holder.list_topics(timeout=10).brokers.values()
        self.servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Server settings of a kernel that reads from it."""
        return {
            "kafka_enabled": True,
            "kafka_servers": self.servers,
            "kafka_topic_input": "in",
            "kafka_topic_output": "out",
            "kafka_topic_errors": "errors",
            "kafka_consumer": {"session.timeout.ms": 6000},
            "shutdown_timeout": 5.0,
        } | more

    def create(self, *topics: str) -> None:
        """Make topics, each with one record, for this broker makes none otherwise."""
        for topic in topics:
            self.send(b"", topic=topic)

    def send(
        self, *values: bytes | None, topic: str = "in", key: bytes | None = None, **headers: str
    ) -> None:
        """Write records, with the same key and headers."""
        producer = Producer({"bootstrap.servers": self.servers, "log_level": 0})
        for value in values:
            given = [
                (name if name.startswith("ce_") else name.replace("_", "-"), text.encode())
                for name, text in headers.items()
            ]
            producer.produce(topic, value, key, headers=given)  # type: ignore[arg-type]
        assert producer.flush(20) == 0

    def receive(self, topic: str, count: int, seconds: float = SECONDS) -> list[Message]:
        """The first `count` records of a topic, in the order of each partition."""
        config = {"bootstrap.servers": self.servers, "group.id": "reader", "log_level": 0}
        consumer = Consumer(config | {"enable.auto.commit": False})
        found: list[Message] = []
        try:
            end = time.monotonic() + seconds
            while not (partitions := consumer.list_topics(topic, timeout=20).topics[topic].partitions):
                assert time.monotonic() < end, f"the topic {topic} was not made"
                time.sleep(0.05)
            consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
            while len(found) < count:
                assert time.monotonic() < end, f"{len(found)} of {count} came to {topic}"
                found += [message for message in consumer.consume(100, 0.2) if message.error() is None]
        finally:
            consumer.close()
        return found

    def committed(self, topic: str, group: str = "mlsrv") -> int:
        """The sum of the offsets that a group has committed."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": group, "log_level": 0})
        try:
            places = [TopicPartition(topic, number) for number in range(4)]
            return sum(max(place.offset, 0) for place in consumer.committed(places, timeout=20))
        except KafkaException:
            return -1
        finally:
            consumer.close()
