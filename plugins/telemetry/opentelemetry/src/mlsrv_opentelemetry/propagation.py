"""Propagation: W3C trace context between headers and OpenTelemetry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from random import getrandbits
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceState, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADERS: Final = ("traceparent", "tracestate")

_propagator = TraceContextTextMapPropagator()
_NEITHER_ZERO = 1 << 64 | 1
_unrecorded = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]").fullmatch


def parent_of(headers: Mapping[str, str]) -> Context:
    """Return the context that headers (names in lower case) continue; an empty one if they have no valid
    ``traceparent``."""
    return _propagator.extract(headers, context=Context())


def headers_of(span: Span) -> dict[str, str]:
    """Return the headers with which a callee continues a span."""
    found: dict[str, str] = {}
    _propagator.inject(found, set_span_in_context(span, Context()))
    return found


# Under heavy traffic most requests are not recorded. These functions handle them in a few microseconds,
# without OpenTelemetry's general propagation.


def is_unrecorded(headers: Mapping[str, str]) -> bool:
    """Return whether headers certainly belong to a trace that the caller does not record."""
    traceparent = headers.get("traceparent")
    return traceparent is not None and _unrecorded(traceparent) is not None


def unrecorded_headers() -> dict[str, str]:
    """Return the headers of a new trace that is not recorded."""
    ids = f"{getrandbits(192) | _NEITHER_ZERO:048x}"
    return {"traceparent": f"00-{ids[:32]}-{ids[32:]}-00"}


class UnrecordedSpan(NonRecordingSpan):
    """A span that continues a trace which its caller does not record.

    Its headers are parsed when its context is first read, which most model code never does.

    Args:
        headers: of which `is_unrecorded` is true.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    @cached_property
    def _context(self) -> SpanContext:  # type: ignore[override]  # the base sets what is read here
        _, trace, span, _ = self._headers["traceparent"].split("-")
        state = self._headers.get("tracestate")
        return SpanContext(
            int(trace, 16),
            int(span, 16),
            is_remote=True,
            trace_state=None if state is None else TraceState.from_header([state]),
        )
