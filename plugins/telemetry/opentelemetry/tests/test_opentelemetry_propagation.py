"""W3C trace context in headers."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_current_span

from mlsrv_opentelemetry.propagation import headers_of, is_unsampled, parent_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_what_is_sent_is_understood() -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("a")
    found = get_current_span(parent_of(headers_of(span))).get_span_context()
    sent = span.get_span_context()
    assert (found.trace_id, found.span_id, found.is_remote) == (sent.trace_id, sent.span_id, True)
    assert not is_unsampled(headers_of(span))


@pytest.mark.parametrize(
    ("traceparent", "unsampled"),
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
def test_the_shortcut_knows_what_it_knows(traceparent: str, unsampled: bool) -> None:
    """It is right whenever it says yes; a no leads to the long way."""
    headers = {"traceparent": traceparent}
    assert is_unsampled(headers) is unsampled
    if unsampled:
        context = get_current_span(parent_of(headers)).get_span_context()
        assert context.is_valid
        assert not context.trace_flags.sampled


def test_no_headers_are_no_parent() -> None:
    assert not is_unsampled({})
    assert not get_current_span(parent_of({})).get_span_context().is_valid
