"""W3C trace context between headers and OpenTelemetry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADERS: Final = ("traceparent", "tracestate")

_unsampled = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]").fullmatch
_propagator = TraceContextTextMapPropagator()


def parent_of(headers: Mapping[str, str]) -> Context:
    """The context that headers (names in lower case) continue; an empty one if they have no valid
    ``traceparent``."""
    return _propagator.extract(headers, context=Context())


def headers_of(span: Span) -> dict[str, str]:
    """The headers by which others continue a span."""
    found: dict[str, str] = {}
    _propagator.inject(found, set_span_in_context(span, Context()))
    return found


def is_unsampled(headers: Mapping[str, str]) -> bool:
    """Whether headers belong to a trace that its caller does not record; quicker than to parse them."""
    return _unsampled(headers.get("traceparent", "")) is not None
