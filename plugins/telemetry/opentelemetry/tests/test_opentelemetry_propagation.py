"""W3C trace context in headers."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_current_span

from mlsrv_opentelemetry.propagation import (
    UnrecordedSpan,
    headers_of,
    is_unrecorded,
    parent_of,
    unrecorded_headers,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_sent_headers_are_parsed_to_the_same_context() -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("a")
    found = get_current_span(parent_of(headers_of(span))).get_span_context()
    sent = span.get_span_context()
    assert (found.trace_id, found.span_id, found.is_remote) == (sent.trace_id, sent.span_id, True)
    assert not is_unrecorded(headers_of(span))


@pytest.mark.parametrize(
    ("traceparent", "unrecorded"),
    [
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"00-{TRACE}-{SPAN}-02", True),
        (f"00-{TRACE}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}-03", False),
        (f"01-{TRACE}-{SPAN}-00", False),
        (f"00-{'0' * 32}-{SPAN}-00", False),
        (f"00-{TRACE}-{'0' * 16}-00", False),
        (f"00-{TRACE.upper()}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-00\n", False),
        ("", False),
    ],
)
def test_the_shortcut_is_right_when_it_answers_yes(traceparent: str, unrecorded: bool) -> None:
    """It is right whenever it says yes; a no leads to the long way."""
    headers = {"traceparent": traceparent}
    assert is_unrecorded(headers) is unrecorded
    if unrecorded:
        span = UnrecordedSpan(headers | {"tracestate": "a=1"})
        context = get_current_span(parent_of(headers | {"tracestate": "a=1"})).get_span_context()
        assert (context.is_valid, context.trace_flags.sampled) == (True, False)
        assert span.get_span_context()[:2] == context[:2]
        assert span.get_span_context().trace_state == context.trace_state


def test_a_trace_that_is_not_recorded_has_headers_of_its_own() -> None:
    one, other = unrecorded_headers(), unrecorded_headers()
    assert one != other
    assert is_unrecorded(one)
    assert is_unrecorded(other)


def test_no_headers_are_no_parent() -> None:
    assert not is_unrecorded({})
    assert not get_current_span(parent_of({})).get_span_context().is_valid
