"""Kafka channel: asks a server over Kafka topics, with confluent-kafka.

A request is written to the input topic; a thread reads the output topic, and the error topic if one is named,
from their ends, and matches answers by the id of their requests.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from mlsrv_protocol.client.calls import Call, HttpResponse
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError
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
        self._waiting: dict[str, Future[Message]] = {}
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
        name, answer = self._send(call)
        try:
            return _read(call, answer.result(self._timeout))
        except TimeoutError:
            raise self._too_late() from None
        finally:
            self._waiting.pop(name, None)

    async def run_async(self, call: Call[T]) -> T:
        """Make a call."""
        name, answer = await asyncio.to_thread(self._send, call)
        try:
            return _read(call, await asyncio.wait_for(asyncio.wrap_future(answer), self._timeout))
        except TimeoutError:
            raise self._too_late() from None
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

    def _send(self, call: Call[T]) -> tuple[str, Future[Message]]:
        """Write the request of a call; returns its id and what its answer will be."""
        request = call.fields
        if not isinstance(request, InferenceRequest):
            raise ServerError(
                f"{call.rpc} cannot be asked over Kafka; only inferences can.", Code.UNIMPLEMENTED
            )
        self._begin_to_read()
        name = request.id or uuid.uuid4().hex
        answer: Future[Message] = Future()
        if self._waiting.setdefault(name, answer) is not answer:
            raise InvalidPayload(f"Another request with the id {name!r} is waiting for its answer.")
        headers = {**self._headers, **call.headers, "mlsrv-model": request.model_name, "x-request-id": name}
        if request.model_version is not None:
            headers["mlsrv-version"] = request.model_version

        def reported(error: KafkaError | None, _message: Message) -> None:
            if error is not None and not answer.done():
                answer.set_exception(ConnectionFailed(f"The request cannot be written: {error.str()}"))

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
        return name, answer

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
            waiting = self._waiting.get(headers_of(message).get("x-request-id", ""))
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    def _too_late(self) -> ServerError:
        hint = "" if self._place.errors else " Name the error topic (?errors=TOPIC) to see what is refused."
        return ServerError(
            f"No answer came to {self._place.output} within {self._timeout:g} s.{hint}",
            Code.DEADLINE_EXCEEDED,
        )


def headers_of(message: Message) -> dict[str, str]:
    """Return the headers of a record as texts, names in lower case."""
    return {
        name.lower(): value.decode("utf-8", "replace") if value else ""
        for name, value in cast("list[tuple[str, bytes | None]]", message.headers() or [])
    }


def _read(call: Call[T], message: Message) -> T:
    headers = headers_of(message)
    code = headers.get("mlsrv-error-code")
    if code is not None:
        known = Code[code] if code in Code.__members__ else Code.INTERNAL
        raise ServerError(headers.get("mlsrv-error-message", code), known, status=code)
    return call.read_http(HttpResponse(200, headers, message.value() or b""))
