"""W3C trace context between headers and OpenTelemetry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import getrandbits
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceState, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADERS: Final = ("traceparent", "tracestate")

_propagator = TraceContextTextMapPropagator()
_unrecorded = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f][02468ace]").fullmatch


def parent_of(headers: Mapping[str, str]) -> Context:
    """The context that headers (names in lower case) continue; an empty one if they have no valid
    ``traceparent``."""
    return _propagator.extract(headers, context=Context())


def headers_of(span: Span) -> dict[str, str]:
    """The headers by which others continue a span."""
    found: dict[str, str] = {}
    _propagator.inject(found, set_span_in_context(span, Context()))
    return found


# Most requests are not recorded where traffic is heavy. What follows does for them in a few microseconds what
# OpenTelemetry does for all.


def is_unrecorded(headers: Mapping[str, str]) -> bool:
    """Whether headers surely belong to a trace that its caller does not record."""
    return _unrecorded(headers.get("traceparent", "")) is not None


def unrecorded_span(headers: Mapping[str, str]) -> NonRecordingSpan | None:
    """What continues a trace that its caller does not record; None if headers are not of one."""
    match = _unrecorded(headers.get("traceparent", ""))
    if match is None:
        return None
    state = headers.get("tracestate")
    return NonRecordingSpan(
        SpanContext(
            int(match[1], 16),
            int(match[2], 16),
            is_remote=True,
            trace_state=None if state is None else TraceState.from_header([state]),
        )
    )


def unrecorded_headers() -> dict[str, str]:
    """The headers of a trace that begins here and is not recorded."""
    return {"traceparent": f"00-{getrandbits(128) | 1:032x}-{getrandbits(64) | 1:016x}-00"}
