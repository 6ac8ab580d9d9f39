"""Requests: what a record asks for."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from attrs import define

from mlsrv.authorization import AccessRequest, Principal
from mlsrv.context import CallContext, new_request_id
from mlsrv.errors import InvalidPayload
from mlsrv.kernel_api import KernelAPI
from mlsrv.threads import Threads
from mlsrv.types import InferenceRequest, MetadataTensor, Parameters
from mlsrv_kafka import cloudevents
from mlsrv_kafka.cloudevents import Event
from mlsrv_kafka.observing import RecordObserver
from mlsrv_kafka.partition import Record
from mlsrv_kafka.records import RawHeader, RawHeaders
from mlsrv_kafka.topics import InputTopics
from mlsrv_protocol.binary import HEADER
from mlsrv_protocol.bodies import SLOW_BYTES, decode_request, is_quick

MAX_ID_LENGTH: Final = 200
"""Characters that a request id from a header or a key may have; a longer one is ignored."""

TRACE: Final = ("traceparent", "tracestate")
_NO_TRACE: Final[Mapping[str, str]] = MappingProxyType({})
_OWN: Final = {
    name: (f"mlsrv-{name}", f"mlserver-{name}", f"mlsrv{name}")
    for name in ("model", "version", "method", "id", "timeout")
}
_MOST_KNOWN: Final = 256
_MOST_KNOWN_LENGTH: Final = 2000
"""Sets of headers that are remembered, and the characters that one may have for it."""
_STREAMS: Final = frozenset(("stream", "generate_stream", "modelstreaminfer", "predict_stream"))
_SINGLE: Final = frozenset(("infer", "modelinfer", "predict"))


@define(eq=False)
class Asked:
    """A request that was read from a record.

    Attributes:
        request, context: for the kernel.
        wanted: names of the outputs that are to be binary.
        streams: whether each response of the model is a record of its own.
        event: the CloudEvent that the record is, or None.
    """

    request: InferenceRequest
    context: CallContext
    wanted: Container[str]
    streams: bool
    event: Event | None


@define(eq=False)
class Envelope:
    """The facts about a request that a record has beside it.

    Attributes:
        headers: as texts, names in lower case.
        event: the CloudEvent that the record is, or None.
        trace: W3C headers.
        model, version: that the headers, the event or the topic name.
        streams: whether each response of the model is to be a record of its own.
        seconds: after which no answer is wanted, or None.
        length: bytes of the JSON, which binary tensors follow, as text; None without them.
        request_id: of the headers or the event; None leaves it to the key.
    """

    headers: dict[str, str]
    event: Event | None
    trace: Mapping[str, str]
    model: str
    version: str | None
    streams: bool
    seconds: float | None
    length: str | None
    request_id: str | None


class RequestReader:
    """Reads requests from records.

    Args:
        kernel: knows the inputs that models declare.
        topics: may name the model.
        observer: of a plugin that observes records.
    """

    def __init__(
        self, kernel: KernelAPI, topics: InputTopics, observer: RecordObserver | None = None
    ) -> None:
        self._kernel = kernel
        self._topics = topics
        self._observer = observer
        self._threads = Threads(1, "mlsrv-kafka-decode")
        # The records of a topic mostly have the same few headers.
        self._known: dict[tuple[str, tuple[RawHeader, ...]], Envelope] = {}

    def close(self) -> None:
        """End the thread that decodes large values."""
        self._threads.close()

    def read_at_once(self, record: Record) -> Asked | None:
        """Return the request of a record, or None where that takes a while, and `read` is to be awaited.

        Raises:
            InvalidPayload: the record is no request, or names no model.
        """
        value = record.value
        if value is None or len(value) >= SLOW_BYTES:
            return None
        if self._observer is not None or self._kernel.guard is not None:
            return None
        key = (record.partition.topic, tuple(record.headers))
        envelope = self._known.get(key)
        if envelope is None:
            headers = texts_of(record.headers)
            if cloudevents.is_structured(headers):
                return None
            envelope = self._envelope(record, headers, cloudevents.binary_event(headers))
            if envelope.request_id is None and not envelope.trace:
                self._know(key, envelope)
        request, wanted = decode_request(
            value, envelope.length, partial(self._declared, envelope.model, envelope.version)
        )
        return self._asked(record, envelope, request, wanted, envelope.trace, None)

    async def read(self, record: Record) -> Asked:
        """Return the request of a record.

        Raises:
            InvalidPayload: the record is no request, or names no model.
            MLSrvError: an authorizer does not let it in.
        """
        headers = texts_of(record.headers)
        event, value = await self._event_of(headers, record.value)
        observed = self._observed(record, _trace_of(headers, event))
        if value is None:
            raise InvalidPayload("The record has no value: on a compacted topic it deletes its key.")
        envelope = self._envelope(record, headers, event)
        guard = self._kernel.guard
        principal = None
        if guard is not None:
            what = f"consume {record.partition.topic}"
            principal = await guard.admit(AccessRequest("infer", headers, envelope.model, "kafka", what))
        declared = partial(self._declared, envelope.model, envelope.version)
        if is_quick(value, envelope.length):
            request, wanted = decode_request(value, envelope.length, declared)
        else:
            request, wanted = await self._threads.run(decode_request, value, envelope.length, declared)
        trace = envelope.trace if observed is None else observed
        return self._asked(record, envelope, request, wanted, trace, principal)

    def _know(self, key: tuple[str, tuple[RawHeader, ...]], envelope: Envelope) -> None:
        if sum(len(name) + len(text) for name, text in envelope.headers.items()) > _MOST_KNOWN_LENGTH:
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = envelope

    def _asked(
        self,
        record: Record,
        envelope: Envelope,
        request: InferenceRequest,
        wanted: Container[str],
        trace: Mapping[str, str],
        principal: Principal | None,
    ) -> Asked:
        request.model_name, request.model_version = envelope.model, envelope.version
        request_id = request.id
        if not request_id:
            request_id = request.id = envelope.request_id or _id_of_key(record.key) or new_request_id()
        headers = envelope.headers.copy()
        if request.parameters is None:
            request.parameters = Parameters.construct(None, headers, {})
        else:
            request.parameters.headers = headers
        deadline = None if envelope.seconds is None else record.taken + envelope.seconds
        # By position: keywords make such a call slower.
        context = CallContext(request_id, deadline, 0, headers, trace, "kafka")
        context.principal = principal
        return Asked(request, context, wanted, envelope.streams, envelope.event)

    def _envelope(self, record: Record, headers: dict[str, str], event: Event | None) -> Envelope:
        name, version = self._model_of(record, headers, event)
        return Envelope(
            headers,
            event,
            _trace_of(headers, event),
            name,
            version,
            _streams(headers, event),
            _seconds(own(headers, event, "timeout") or headers.get("x-request-timeout")),
            headers.get(HEADER),
            _given_id(headers, event),
        )

    async def _event_of(
        self, headers: Mapping[str, str], value: bytes | None
    ) -> tuple[Event | None, bytes | None]:
        """Return the event that a record is, and the value that the request is in."""
        if value is None or not cloudevents.is_structured(headers):
            return cloudevents.binary_event(headers), value
        if len(value) < SLOW_BYTES:
            return cloudevents.structured_event(value)
        return await self._threads.run(cloudevents.structured_event, value)

    def _observed(self, record: Record, trace: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return the trace that the request continues where records are observed: of an observation that
        lasts for all attempts."""
        if self._observer is None:
            return None
        if record.observation is None:
            where = record.partition
            record.observation = self._observer.begin(where.topic, where.number, record.offset, trace)
        return record.observation.trace

    def _model_of(
        self, record: Record, headers: Mapping[str, str], event: Event | None
    ) -> tuple[str, str | None]:
        by_topic, version_by_topic = self._topics.model_of(record.partition.topic)
        name = own(headers, event, "model") or by_topic
        if not name:
            raise InvalidPayload("The record names no model; give it the header mlsrv-model.")
        return name, own(headers, event, "version") or version_by_topic

    def _declared(self, name: str, version: str | None) -> list[MetadataTensor]:
        return list(self._kernel.model_metadata(name, version).inputs)


def texts_of(headers: RawHeaders) -> dict[str, str]:
    """Return headers as texts, names in lower case. Of a repeated one the last counts; bytes that are not
    UTF-8 are replaced."""
    return {name.lower(): value.decode("utf-8", "replace") if value else "" for name, value in headers}


def own(headers: Mapping[str, str], event: Event | None, name: str) -> str | None:
    """Return what a record says about itself: the header ``mlsrv-NAME`` or ``mlserver-NAME``, or the
    attribute ``mlsrvNAME`` of its CloudEvent."""
    ours, theirs, attribute = _OWN[name]
    found = headers.get(ours) or headers.get(theirs)
    return found or (None if event is None else event.attributes.get(attribute))


def id_of(record: Record) -> str | None:
    """Return the id of a record that cannot be decoded, as far as its headers or its key have one."""
    headers = texts_of(record.headers)
    return _given_id(headers, cloudevents.binary_event(headers)) or _id_of_key(record.key)


def _given_id(headers: Mapping[str, str], event: Event | None) -> str | None:
    given = own(headers, event, "id") or headers.get("x-request-id")
    if not given and event is not None:
        given = event.attributes.get("id")
    return given if given and len(given) <= MAX_ID_LENGTH else None


def _id_of_key(key: bytes | None) -> str | None:
    if not key:
        return None
    text = key.decode("utf-8", "replace")
    return text if len(text) <= MAX_ID_LENGTH else None


def _streams(headers: Mapping[str, str], event: Event | None) -> bool:
    method = own(headers, event, "method")
    if not method or method.lower() in _SINGLE:
        return False
    if method.lower() not in _STREAMS:
        raise InvalidPayload(f"The method is {method[:60]!r}; it is infer or stream.")
    return True


def _seconds(given: str | None) -> float | None:
    """Return the seconds from when a record was read after which no answer is wanted."""
    if not given:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidPayload(f"The header mlsrv-timeout is {given[:40]!r}; it must be a number of seconds.")
    return seconds


def _trace_of(headers: Mapping[str, str], event: Event | None) -> Mapping[str, str]:
    for source in (headers,) if event is None else (headers, event.attributes):
        if "traceparent" in source:
            return {name: source[name] for name in TRACE if name in source}
    return _NO_TRACE
