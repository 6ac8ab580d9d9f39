"""Requests: what a record asks for."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from attrs import define

from mlsrv.authorization import AccessRequest
from mlsrv.context import CallContext, new_request_id
from mlsrv.errors import InvalidPayload
from mlsrv.kernel_api import KernelAPI
from mlsrv.threads import Threads
from mlsrv.types import InferenceRequest, MetadataTensor, Parameters
from mlsrv_kafka import cloudevents
from mlsrv_kafka.cloudevents import Event
from mlsrv_kafka.observing import RecordObserver
from mlsrv_kafka.partition import Record
from mlsrv_kafka.records import RawHeaders
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

    def close(self) -> None:
        """End the thread that decodes large values."""
        self._threads.close()

    async def read(self, record: Record) -> Asked:
        """Return the request of a record.

        Raises:
            InvalidPayload: the record is no request, or names no model.
            MLSrvError: an authorizer does not let it in.
        """
        headers = texts_of(record.headers)
        event, value = await self._event_of(headers, record.value)
        trace = _trace_of(headers, event)
        if self._observer is not None:
            trace = self._observed(record, trace)
        if value is None:
            raise InvalidPayload("The record has no value: on a compacted topic it deletes its key.")
        name, version = self._model_of(record, headers, event)
        guard = self._kernel.guard
        principal = None
        if guard is not None:
            asking = AccessRequest("infer", headers, name, "kafka", f"consume {record.partition.topic}")
            principal = await guard.admit(asking)
        length = headers.get(HEADER)
        declared = partial(self._declared, name, version)
        if is_quick(value, length):
            request, wanted = decode_request(value, length, declared)
        else:
            request, wanted = await self._threads.run(decode_request, value, length, declared)
        request.model_name, request.model_version = name, version
        if not request.id:
            request.id = _given_id(record, headers, event) or new_request_id()
        if request.parameters is None:
            request.parameters = Parameters()
        request.parameters.headers = headers
        context = CallContext(
            request.id,
            _deadline(record, own(headers, event, "timeout") or headers.get("x-request-timeout")),
            headers=headers,
            trace=trace,
            transport="kafka",
        )
        context.principal = principal
        return Asked(request, context, wanted, self._streams(name, version, headers, event), event)

    async def _event_of(
        self, headers: Mapping[str, str], value: bytes | None
    ) -> tuple[Event | None, bytes | None]:
        """Return the event that a record is, and the value that the request is in."""
        if value is None or not cloudevents.is_structured(headers):
            return cloudevents.binary_event(headers), value
        if len(value) < SLOW_BYTES:
            return cloudevents.structured_event(value)
        return await self._threads.run(cloudevents.structured_event, value)

    def _observed(self, record: Record, trace: Mapping[str, str]) -> Mapping[str, str]:
        """Return the trace that the request continues: of an observation that lasts for all attempts."""
        if record.observation is None:
            assert self._observer is not None
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

    def _streams(
        self, name: str, version: str | None, headers: Mapping[str, str], event: Event | None
    ) -> bool:
        method = own(headers, event, "method")
        if not method or method.lower() in _SINGLE:
            return False
        if method.lower() not in _STREAMS:
            raise InvalidPayload(f"The method is {method[:60]!r}; it is infer or stream.")
        return True


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
    return _given_id(record, headers, cloudevents.binary_event(headers))


def _given_id(record: Record, headers: Mapping[str, str], event: Event | None) -> str | None:
    given = own(headers, event, "id") or headers.get("x-request-id")
    if not given and event is not None:
        given = event.attributes.get("id")
    if not given and record.key:
        given = record.key.decode("utf-8", "replace")
    return given if given and len(given) <= MAX_ID_LENGTH else None


def _deadline(record: Record, given: str | None) -> float | None:
    """Return the time of `time.monotonic` after which no answer is wanted: seconds after it was read."""
    if not given:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidPayload(f"The header mlsrv-timeout is {given[:40]!r}; it must be a number of seconds.")
    return record.taken + seconds


def _trace_of(headers: Mapping[str, str], event: Event | None) -> Mapping[str, str]:
    for source in (headers,) if event is None else (headers, event.attributes):
        if "traceparent" in source:
            return {name: source[name] for name in TRACE if name in source}
    return _NO_TRACE
