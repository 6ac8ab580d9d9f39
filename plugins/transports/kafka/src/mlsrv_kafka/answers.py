"""Answers: the records that answer a record, and the one that says why it cannot be answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mlsrv.errors import MLSrvError
from mlsrv_kafka import cloudevents
from mlsrv_kafka.partition import Record
from mlsrv_kafka.records import RawHeaders
from mlsrv_kafka.requests import TRACE, Asked, id_of
from mlsrv_protocol.binary import HEADER
from mlsrv_protocol.bodies import encode_response, headers_of
from mlsrv_protocol.types import InferenceResponse

_IS_JSON: Final = ("content-type", b"application/json")
_IS_OCTETS: Final = ("content-type", b"application/octet-stream")
_CONNECT: Final = "__connect.errors."
# Set by the server alone: a model may just echo the headers of its request.
_RESERVED: Final = ("mlsrv-", "mlserver-", "ce_", _CONNECT, "content-type", HEADER, "x-request-id", *TRACE)
_RENEWED: Final = ("mlsrv-source", "mlsrv-error-code", "mlsrv-error-message", "mlsrv-sequence")
"""Headers that a record has which came from an error topic."""


class AnswerWriter:
    """Writes the headers and the values of answers.

    Args:
        server: name of the server.
        copied: names, in lower case, of headers of a request that its answers have, too.
    """

    def __init__(self, server: str, copied: Sequence[str]) -> None:
        self._server = server
        self._copied = frozenset(name.lower() for name in copied)

    def answer(
        self,
        record: Record,
        asked: Asked,
        response: InferenceResponse,
        sequence: int | None = None,
        error: MLSrvError | None = None,
    ) -> tuple[bytes, RawHeaders]:
        """Return value and headers of an answer.

        Args:
            record, asked: what is answered.
            response: of the model; one without outputs to end a stream.
            sequence: number of the response in its stream; None outside one.
            error: what ended the stream early.

        Raises:
            InvalidOutput: the response cannot be written.
        """
        value, size = encode_response(response, asked.wanted)
        context = asked.context
        headers: RawHeaders = [
            _IS_JSON if size is None else _IS_OCTETS,
            ("x-request-id", _bytes(context.request_id)),
            ("mlsrv-model", _bytes(response.model_name)),
            ("mlsrv-source", record.source.encode()),
        ]
        if size is not None:
            headers.append((HEADER, b"%d" % size))
        if response.model_version:
            headers.append(("mlsrv-version", _bytes(response.model_version)))
        if sequence is not None:
            headers.append(("mlsrv-sequence", b"%d" % sequence))
            if not response.outputs:
                headers.append(("mlsrv-end", b"true"))
        if error is not None:
            headers += _error_headers(error)
        if context.trace:
            headers += [(name, _bytes(text)) for name, text in context.trace.items()]
        given = headers_of(response) if response.parameters is not None else None
        if given:
            headers += [
                (name, _bytes(text)) for name, text in given.items() if not name.lower().startswith(_RESERVED)
            ]
        if self._copied:
            headers += [(name, found) for name, found in record.headers if name.lower() in self._copied]
        if asked.event is not None:
            return self._as_event(record, asked, value, headers, sequence)
        return value, headers

    def _as_event(
        self, record: Record, asked: Asked, value: bytes, headers: RawHeaders, sequence: int | None
    ) -> tuple[bytes, RawHeaders]:
        event = asked.event
        assert event is not None
        identity = record.source if sequence is None else f"{record.source}/{sequence}"
        attributes = cloudevents.response_attributes(event, f"/{self._server}", identity)
        if not event.structured:
            return value, headers + cloudevents.binary_headers(attributes)
        content_type = headers[0][1] or b""
        whole = cloudevents.structured_value(attributes, value, content_type.decode("ascii"))
        return whole, [("content-type", cloudevents.STRUCTURED.encode()), *headers[1:]]

    def error(
        self, record: Record, error: MLSrvError, request_id: str | None, sequence: int | None = None
    ) -> RawHeaders:
        """Return the headers of the record that says why one cannot be answered: its own, those of mlsrv, and
        those of Kafka Connect, which tools for dead letters read. `sequence` is the number of the end mark of
        a stream that has begun, which says the same to the reader of the stream."""
        headers = [(name, value) for name, value in record.headers if name.lower() not in _RENEWED]
        present = {name.lower() for name, _ in headers}
        found: RawHeaders = [("mlsrv-source", record.source.encode()), *_error_headers(error)]
        request_id = request_id or id_of(record)
        if request_id is not None:
            found.append(("x-request-id", _bytes(request_id)))
        if sequence is not None:
            found.append(("mlsrv-sequence", b"%d" % sequence))
        partition = record.partition
        for name, text in (
            ("topic", partition.topic),
            ("partition", str(partition.number)),
            ("offset", str(record.offset)),
            ("connector.name", self._server),
            ("task.id", "0"),
            ("stage", "TASK_PUT"),
            ("class.name", "mlsrv_kafka.KafkaTransport"),
            ("exception.class.name", type(error).__name__),
            ("exception.message", str(error)),
        ):
            found.append((_CONNECT + name, _bytes(text)))
        return [*headers, *((name, text) for name, text in found if name not in present)]


def _error_headers(error: MLSrvError) -> RawHeaders:
    return [("mlsrv-error-code", error.code.name.encode()), ("mlsrv-error-message", _bytes(str(error)))]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
