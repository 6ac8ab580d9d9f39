"""Servers that read from a real Kafka broker, and records that are counted at both ends."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from attrs import Factory, define
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from brokers import Broker, new_name

SECONDS = 90
KEYS = 20
GROUP = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
BODY = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}]}


def wait_until(condition: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@define
class Topics:
    """Topics and a group that one test has for itself."""

    broker: Broker
    input: str = Factory(lambda: new_name("in"))
    output: str = Factory(lambda: new_name("out"))
    errors: str = Factory(lambda: new_name("errors"))
    group: str = Factory(lambda: new_name("group"))

    def settings(self) -> dict[str, Any]:
        """Of a server that reads and writes them."""
        return {
            "kafka_enabled": "true",
            "kafka_servers": self.broker.servers,
            "kafka_topic_input": self.input,
            "kafka_topic_output": self.output,
            "kafka_topic_errors": self.errors,
            "kafka_group": self.group,
            "kafka_consumer": GROUP,
            "kafka_producer": {"message.timeout.ms": 5000},
        }

    def read(
        self, topic: str, enough: Callable[[list[Message]], bool], seconds: float = SECONDS
    ) -> list[Message]:
        """The records of a topic from its beginning, until there are enough."""
        config = self.broker.client(group_id=new_name("reader"))
        consumer = Consumer(config | {"fetch.message.max.bytes": 2**24})
        found: list[Message] = []
        end = time.monotonic() + seconds
        try:
            partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
            while not enough(found):
                assert time.monotonic() < end, f"only {len(found)} records in {topic}, e.g. {found[-1:]}"
                found += [message for message in consumer.consume(500, 0.2) if message.error() is None]
        finally:
            consumer.close()
        return found

    def committed(self) -> int:
        """The sum of the offsets that the group has committed."""
        consumer = Consumer(self.broker.client(group_id=self.group))
        try:
            partitions = consumer.list_topics(self.input, timeout=20).topics[self.input].partitions
            places = [TopicPartition(self.input, number) for number in partitions]
            return sum(max(place.offset, 0) for place in consumer.committed(places, timeout=20))
        finally:
            consumer.close()


def header(message: Message, name: str) -> str | None:
    """One header of a record."""
    for found, value in message.headers() or []:
        if found == name and isinstance(value, bytes):
            return value.decode()
    return None


class Load:
    """Writes requests in a thread: number ``n`` has the id ``r<n>`` and the key ``k<n modulo KEYS>``."""

    def __init__(self, topics: Topics, pause: float = 0.002, model: str = "model") -> None:
        self.topics = topics
        self.ids: list[str] = []
        self.failures: list[str] = []
        self._pause = pause
        self._model = model
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(SECONDS)
        assert self.failures == []

    def wait_for(self, count: int) -> None:
        """Wait until so many requests were written."""
        end = time.monotonic() + SECONDS
        while len(self.ids) < count:
            assert time.monotonic() < end, f"only {len(self.ids)} requests were written"
            time.sleep(0.01)

    def _run(self) -> None:
        config = self.topics.broker.client(partitioner="murmur2_random", enable_idempotence=True)
        producer = Producer(config)
        while not self._stop.is_set():
            self.write(producer)
            producer.poll(0)
            time.sleep(self._pause)
        if producer.flush(SECONDS):
            self.failures.append("not all requests were written")

    def write(self, producer: Producer) -> None:
        """Write one more request."""
        number = len(self.ids)
        headers: Any = [("mlsrv-model", self._model.encode()), ("x-request-id", b"r%d" % number)]
        key = b"k%d" % (number % KEYS)
        producer.produce(
            self.topics.input, json.dumps(BODY), key, headers=headers, on_delivery=self._delivered
        )
        self.ids.append(f"r{number}")

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.failures.append(str(error))

    def check_answers(self, seconds: float = SECONDS) -> list[Message]:
        """Every request has an answer, and answers of one key came in the order of the requests: the first
        time each came, for an answer may come again. Returns them."""
        wanted = set(self.ids)

        def enough(found: list[Message]) -> bool:
            return len(found) >= len(wanted) and wanted <= {header(one, "x-request-id") for one in found}

        answers = self.topics.read(self.topics.output, enough, seconds)
        first: dict[bytes, list[int]] = {}
        counted: set[str] = set()
        for message in answers:
            name = header(message, "x-request-id") or ""
            assert name in wanted
            if name not in counted:
                counted.add(name)
                key = message.key()
                assert key == b"k%d" % (int(name[1:]) % KEYS)
                first.setdefault(key, []).append(int(name[1:]))
        overtaken = [numbers for numbers in first.values() if numbers != sorted(numbers)]
        assert overtaken == []
        return answers


@define
class Server:
    """A server as a process of its own."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            try:
                if "boot.py" in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.NoSuchProcess:
                pass  # it has just ended
        return found

    def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        try:
            return httpx.get(f"{self.url}/v2/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End it without a word, and its workers."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait(20)
        for child in children:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                pass  # it has noticed already

    def terminate(self, quiet: bool = True) -> None:
        """Ask it to stop, and check that it does so well, and that its log is quiet."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(40) == 0, self.log.read_text()
        assert not quiet or "Traceback" not in self.log.read_text(), self.log.read_text()
