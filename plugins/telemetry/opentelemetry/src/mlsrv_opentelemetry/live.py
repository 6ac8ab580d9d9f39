"""Live spans: the current span while model code runs, in the process where it runs."""

from __future__ import annotations

import asyncio
from contextvars import Token
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode, get_current_span, set_span_in_context

from mlsrv.context import CallContext
from mlsrv.interceptor import WholeCall
from mlsrv.settings import ModelSettings
from mlsrv_opentelemetry.phases import Clock, add_phases
from mlsrv_opentelemetry.propagation import UnrecordedSpan, is_unrecorded, parent_of
from mlsrv_opentelemetry.tracing import Tracing

_PHASES_AROUND = frozenset({"batch", "predict", "queue"})
"""Phases that lie outside the live span."""


class LiveSpans:
    """Makes the span in which one call of a model's code runs.

    The code finds its span with `opentelemetry.trace.get_current_span`. Where the request is not recorded, it
    finds one that only continues the caller's trace.
    """

    def __init__(self, tracing: Tracing, model: ModelSettings) -> None:
        self.tracing = tracing
        self.attributes = tracing.attributes(model)

    def __call__(self, context: CallContext) -> LiveSpan | UnrecordedCall:
        if is_unrecorded(context.trace):
            return UnrecordedCall(self.tracing, UnrecordedSpan(context.trace))
        return LiveSpan(self, context)


class UnrecordedCall:
    """A call, or a step of a stream, that is not recorded."""

    __slots__ = ("_span", "_token", "_tracing")

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span

    def __enter__(self) -> None:
        self._token = attach(set_span_in_context(self._span, self._tracing.current_context()))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        detach(self._token)


class LiveSpan(WholeCall):
    """The span of one call; of a stream it is entered and left for each step."""

    __slots__ = ("_clock", "_first", "_span", "_spans", "_timeline", "_token")

    def __init__(self, spans: LiveSpans, context: CallContext) -> None:
        self._spans = spans
        self._span = self._start(context)
        if self._span.is_recording():
            self._timeline = context.timeline
            self._first = 0 if context.timeline is None else len(context.timeline.spans)
            self._clock = Clock()

    def __enter__(self) -> None:
        within = get_current()
        if self._span is not INVALID_SPAN:
            within = set_span_in_context(self._span, self._spans.tracing.current_context())
        self._token: Token[Context] = attach(within)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        detach(self._token)
        if error is not None and not isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._span.record_exception(error)
            self._span.set_status(StatusCode.ERROR, str(error))

    def close(self) -> None:
        """End the span."""
        if not self._span.is_recording():
            return
        if self._timeline is not None:
            spans = self._timeline.spans[self._first :]
            add_phases(self._spans.tracing.tracer, self._span, spans, self._clock, _PHASES_AROUND)
        self._span.end()

    def _start(self, context: CallContext) -> Span:
        parent = parent_of(context.trace) if context.trace else get_current()
        if not get_current_span(parent).get_span_context().is_valid:
            return INVALID_SPAN  # a warm-up call, which belongs to no request
        return self._spans.tracing.tracer.start_span("predict", parent, attributes=self._spans.attributes)
