"""Kafka channel: asks a server over Kafka topics, with confluent-kafka.

A request is written to the input topic; a thread reads the output topic, and the error topic if one is named,
from their ends, and matches answers by the id of their requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from mlsrv_protocol.client.calls import Call
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError
from mlsrv_protocol.client.kafka_records import Arrival, StreamReading, headers_of, read_result
from mlsrv_protocol.client.trust import Certificate, files_of
from mlsrv_protocol.errors import Code, InvalidPayload
from mlsrv_protocol.inference import InferenceRequest

T = TypeVar("T")

_INPUT: Final = "mlserver-input"
_OUTPUT: Final = "mlserver-output"
_POLL_SECONDS: Final = 0.1
_CONNECT_SECONDS: Final = 10.0


@frozen
class Place:
    """The topics of a server, as a URL names them.

    Attributes:
        servers: brokers, as HOST:PORT, separated by commas.
        input, output: topics.
        errors: topic of records that cannot be answered; None if it is not read.
        config: further keys of librdkafka.
    """

    servers: str
    input: str
    output: str
    errors: str | None
    config: Mapping[str, Any]


def read_url(url: str, verify: str | bool, cert: Certificate | None = None) -> Place:
    """Return what a URL ``kafka://HOST:PORT[,…][/INPUT/OUTPUT][?errors=TOPIC&KEY=VALUE…]`` says. Keys are
    those of librdkafka; with ``kafkas://`` the connection is encrypted.

    Raises:
        InvalidPayload: it names one topic of the two.
    """
    parts = urlsplit(url)
    topics = [topic for topic in parts.path.split("/") if topic] or [_INPUT, _OUTPUT]
    if len(topics) != 2:
        raise InvalidPayload(f"{url!r} does not name two topics; write kafka://HOST:PORT/INPUT/OUTPUT.")
    config = dict(parse_qsl(parts.query))
    errors = config.pop("errors", None)
    if parts.scheme == "kafkas":
        config.setdefault("security.protocol", "SSL")
        if isinstance(verify, str):
            config.setdefault("ssl.ca.location", verify)
        if cert is not None:
            chain, key = files_of(cert)
            config.setdefault("ssl.certificate.location", chain)
            config.setdefault("ssl.key.location", key)
    return Place(parts.netloc, topics[0], topics[1], errors, config)


class KafkaChannel:
    """A channel over Kafka. It can make inferences and nothing else.

    Args:
        url: see `read_url`.
        timeout: seconds until an answer must have come.
        headers: sent with each request.
        verify: for ``kafkas://``: the path of a PEM file with authorities; True takes common ones.
        cert: for ``kafkas://``: the client's certificate and key, as for `Client`.

    Raises:
        InvalidPayload: the URL cannot be used, or the client library does not know a key in it.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        headers: Mapping[str, str],
        verify: str | bool,
        cert: Certificate | None = None,
    ) -> None:
        self._place = read_url(url, verify, cert)
        self._timeout = timeout
        self._headers = dict(headers)
        self._waiting: dict[str, Callable[[Arrival], None]] = {}
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        common = {"bootstrap.servers": self._place.servers, "log_level": 0, **self._place.config}
        group = {"group.id": f"mlsrv-client-{uuid.uuid4().hex}", "enable.auto.commit": False}
        sending = {"enable.idempotence": True, "partitioner": "murmur2_random", "linger.ms": 1}
        try:
            self._producer = Producer(
                common | sending | {"message.timeout.ms": max(int(timeout * 1000), 1000)}
            )
            self._consumer = Consumer(common | group)
        except KafkaException as error:
            raise InvalidPayload(f"The URL of Kafka cannot be used: {error.args[0].str()}") from None

    def run(self, call: Call[T]) -> T:
        """Make a call and wait for its result."""
        answer: Future[Message] = Future()
        name = self._send(call, partial(_settle, answer))
        try:
            return read_result(call, answer.result(self._timeout))
        except TimeoutError:
            raise self._too_late() from None
        finally:
            self._waiting.pop(name, None)

    async def run_async(self, call: Call[T]) -> T:
        """Make a call."""
        answer: Future[Message] = Future()
        name = await asyncio.to_thread(self._send, call, partial(_settle, answer))
        try:
            return read_result(call, await asyncio.wait_for(asyncio.wrap_future(answer), self._timeout))
        except TimeoutError:
            raise self._too_late() from None
        finally:
            self._waiting.pop(name, None)

    def stream(self, call: Call[T]) -> Iterator[T]:
        """Make a call whose answer is several records, and yield each; see `Client.stream`."""
        arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        reading = StreamReading(call)
        name = self._send(call, arrivals.put, streams=True)
        try:
            while not reading.ended:
                try:
                    arrived = arrivals.get(timeout=self._timeout)
                except queue.Empty:
                    raise self._too_late() from None
                yield from reading.take(arrived)
        finally:
            self._waiting.pop(name, None)

    async def stream_async(self, call: Call[T]) -> AsyncIterator[T]:
        """As `stream`."""
        loop = asyncio.get_running_loop()
        arrivals: asyncio.Queue[Arrival] = asyncio.Queue()
        reading = StreamReading(call)

        def arrive(arrived: Arrival) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its reader with it
                loop.call_soon_threadsafe(arrivals.put_nowait, arrived)

        name = await asyncio.to_thread(self._send, call, arrive, streams=True)
        try:
            while not reading.ended:
                try:
                    arrived = await asyncio.wait_for(arrivals.get(), self._timeout)
                except TimeoutError:
                    raise self._too_late() from None
                for result in reading.take(arrived):
                    yield result
        finally:
            self._waiting.pop(name, None)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            self._closed.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_CONNECT_SECONDS)
        self._consumer.close()
        self._producer.purge()
        self._producer.poll(0)

    async def close_async(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self.close)

    def _send(self, call: Call[Any], take: Callable[[Arrival], None], streams: bool = False) -> str:
        """Write the request of a call, and have what arrives for it given to a function, until its id is
        removed from those that wait.

        Returns:
            The id.
        """
        request = call.fields
        if not isinstance(request, InferenceRequest):
            raise ServerError(
                f"{call.rpc} cannot be asked over Kafka; only inferences can.", Code.UNIMPLEMENTED
            )
        self._begin_to_read()
        name = request.id or uuid.uuid4().hex
        if self._waiting.setdefault(name, take) is not take:
            raise InvalidPayload(f"Another request with the id {name!r} is waiting for its answer.")
        headers = {**self._headers, **call.headers, "mlsrv-model": request.model_name, "x-request-id": name}
        if request.model_version is not None:
            headers["mlsrv-version"] = request.model_version
        if streams:
            headers["mlsrv-method"] = "stream"

        def reported(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                take(ConnectionFailed(f"The request cannot be written: {error.str()}"))

        try:
            self._producer.produce(
                self._place.input,
                call.body,
                headers=[(key, value.encode("utf-8", "replace")) for key, value in headers.items()],
                on_delivery=reported,
            )
        except (KafkaException, BufferError) as error:
            del self._waiting[name]
            raise ConnectionFailed(f"The request cannot be written: {error}") from None
        return name

    def _begin_to_read(self) -> None:
        """Start the thread that reads answers, from the present end of their topics.

        Raises:
            ConnectionFailed: no broker can be reached, or a topic does not exist.
        """
        with self._lock:
            if self._thread is not None:
                return
            if self._closed.is_set():
                raise ConnectionFailed("The client is closed.")
            seconds = min(self._timeout, _CONNECT_SECONDS)
            places: list[TopicPartition] = []
            for topic in (self._place.output, self._place.errors):
                if topic is not None:
                    places += self._ends(topic, seconds)
            self._consumer.assign(places)
            self._thread = threading.Thread(target=self._read, name="mlsrv-kafka-client", daemon=True)
            self._thread.start()

    def _ends(self, topic: str, seconds: float) -> list[TopicPartition]:
        end = time.monotonic() + seconds
        try:
            while True:
                found = self._consumer.list_topics(topic, timeout=seconds).topics[topic]
                if found.error is None:
                    break
                if time.monotonic() > end or found.error.code() != KafkaError.LEADER_NOT_AVAILABLE:
                    raise KafkaException(found.error)
                time.sleep(_POLL_SECONDS)
            places = [TopicPartition(topic, number) for number in found.partitions]
            for place in places:
                place.offset = self._consumer.get_watermark_offsets(place, timeout=seconds)[1]
        except KafkaException as error:
            raise ConnectionFailed(f"The topic {topic} cannot be read: {error.args[0].str()}") from None
        return places

    def _read(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0)
            message = self._consumer.poll(_POLL_SECONDS)
            if message is None or message.error() is not None:
                continue
            take = self._waiting.get(headers_of(message).get("x-request-id", ""))
            if take is not None:
                take(message)

    def _too_late(self) -> ServerError:
        hint = "Name the error topic (?errors=TOPIC) to see what is refused."
        if self._place.errors:
            hint = f"A server whose kafka_topic_errors is not {self._place.errors} logs what it refuses."
        return ServerError(
            f"No answer came to {self._place.output} within {self._timeout:g} s. {hint}",
            Code.DEADLINE_EXCEEDED,
        )


def _settle(answer: Future[Message], arrived: Arrival) -> None:
    if answer.done():
        return
    if isinstance(arrived, ConnectionFailed):
        answer.set_exception(arrived)
    else:
        answer.set_result(arrived)
