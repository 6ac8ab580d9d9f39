"""Messaging spans: of records from Kafka and their answers, by OpenTelemetry's conventions for messaging."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context

from mlsrv.errors import Code, MLSrvError
from mlsrv_opentelemetry.propagation import headers_of
from mlsrv_opentelemetry.tracing import Tracing

_FAULTS = frozenset({Code.INTERNAL, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.NOT_READY})
"""Codes that count as errors of the server."""


class TracedRecords:
    """Makes a span for each record that is answered, and one for writing its answer.

    Args:
        tracing: of the kernel.
        group: the consumer group.
    """

    def __init__(self, tracing: Tracing, group: str) -> None:
        self._tracing = tracing
        self._group = group

    def begin(self, topic: str, partition: int, offset: int, trace: Mapping[str, str]) -> TracedRecord:
        """Begin the span of a record, which continues the trace of its headers."""
        span, headers = self._tracing.begin(f"process {topic}", trace, kind=SpanKind.CONSUMER)
        if span is not None:
            span.set_attributes(
                {
                    **_about("process", topic),
                    "messaging.consumer.group.name": self._group,
                    "messaging.destination.partition.id": str(partition),
                    "messaging.kafka.offset": offset,
                }
            )
        return TracedRecord(self._tracing, span, headers)


class TracedRecord:
    """The spans of one record.

    Attributes:
        trace: the headers with which the request continues.
    """

    def __init__(self, tracing: Tracing, span: Span | None, trace: Mapping[str, str]) -> None:
        self._tracing = tracing
        self._span = span
        self.trace = trace
        self._sending: Span | None = None
        self._sent = trace

    def sending(self, topic: str) -> Mapping[str, str]:
        """Begin the span of writing to a topic; one for all records of a stream."""
        if self._span is None:
            return self.trace
        name = f"send {topic}"
        if self._sending is not None and getattr(self._sending, "name", name) != name:
            self._sending.end()  # the answer was refused, and the error topic comes next
            self._sending = None
        if self._sending is None:
            self._sending = self._tracing.tracer.start_span(
                name,
                set_span_in_context(self._span, Context()),
                SpanKind.PRODUCER,
                _about("send", topic),
            )
            self._sent = headers_of(self._sending)
        return self._sent

    def done(self, error: MLSrvError | None) -> None:
        """End the spans of a record that has its answer, or will have none."""
        if self._span is not None and error is not None:
            self._span.set_attribute("error.type", error.code.name)
            if error.code in _FAULTS:
                self._span.set_status(StatusCode.ERROR, str(error))
        self._end()

    def abandoned(self) -> None:
        """End the spans of a record that is left to others."""
        if self._span is not None:
            self._span.set_attribute("mlsrv.abandoned", True)
        self._end()

    def _end(self) -> None:
        for span in (self._sending, self._span):
            if span is not None:
                span.end()


def _about(operation: str, topic: str) -> dict[str, str]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }
