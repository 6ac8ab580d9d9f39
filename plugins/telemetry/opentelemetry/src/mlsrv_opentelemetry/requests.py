"""The spans of requests in the kernel: one for each, one for each phase that it went through, and one for
each batch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

from opentelemetry.context import Context, get_current
from opentelemetry.trace import Link, Span, StatusCode, set_span_in_context

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv.interceptor import CallNext, Interceptor, Phase, StreamNext
from mlsrv.settings import ModelSettings
from mlsrv_opentelemetry.phases import Clock, add_phases
from mlsrv_opentelemetry.propagation import headers_of, is_unsampled, parent_of
from mlsrv_opentelemetry.tracing import Tracing
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

_WHERE_THE_MODEL_RUNS = frozenset({"decode", "encode", "predict"})
"""Phases whose spans are made there, as children of the live one."""


class RequestSpans(Interceptor):
    """One span for each request. Whoever answers it finds the span in ``context.trace``.

    Attributes:
        recorded: the requests that are being answered and recorded.
    """

    phase: ClassVar[Phase] = Phase.OBSERVE
    observes: ClassVar[bool] = True

    def __init__(self, tracing: Tracing, model: ModelSettings) -> None:
        self.tracing = tracing
        self.name = f"infer {model.name}"
        self.attributes = tracing.attributes(model)
        self.recorded: dict[CallContext, _Request] = {}

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        if is_unsampled(context.trace):
            return await call_next(request, context)
        with _Request(self, context):
            return await call_next(request, context)

    def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        if is_unsampled(context.trace):
            return call_next(requests, context)
        return self._stream(requests, context, call_next)

    async def _stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        with _Request(self, context) as request:
            count = 0
            responses = call_next(requests, context)
            try:
                async for response in responses:
                    count += 1
                    yield response
            finally:
                request.span.set_attribute("mlsrv.stream.responses", count)
                if (close := getattr(responses, "aclose", None)) is not None:
                    await close()


class _Request:
    """The span of one request, while it is answered.

    Attributes:
        span: may be one that is not recorded.
        runs_elsewhere: whether the model's own spans are in the trace of another request of the same batch.
    """

    def __init__(self, spans: RequestSpans, context: CallContext) -> None:
        self.runs_elsewhere = False
        self._spans = spans
        self._context = context
        self._clock = Clock()
        self._outer = context.trace
        # An embedding application has no headers, but may have a span of its own.
        parent = parent_of(context.trace) if context.trace else get_current()
        self.span: Span = spans.tracing.tracer.start_span(spans.name, parent, attributes=spans.attributes)

    def __enter__(self) -> _Request:
        self._context.trace = headers_of(self.span)
        if self.span.is_recording():
            self.span.set_attribute("mlsrv.request.id", self._context.request_id)
            self._spans.recorded[self._context] = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # Model code may call another model with its own context: it goes on in its own span then.
        self._context.trace = self._outer
        if self._spans.recorded.pop(self._context, None) is None:
            return
        timeline = self._context.timeline
        if timeline is not None:
            skipped = frozenset() if self.runs_elsewhere else _WHERE_THE_MODEL_RUNS
            add_phases(self._spans.tracing.tracer, self.span, timeline.spans, self._clock, skipped)
        if error is not None and not isinstance(error, GeneratorExit):
            code = error.code.name if isinstance(error, MLSrvError) else type(error).__name__
            self.span.set_attribute("error.type", code)
            self.span.set_status(StatusCode.ERROR, str(error))
        self.span.end()


class BatchSpans(Interceptor):
    """One span for each batch, in the trace of its first member that is recorded, and linked with all of
    them."""

    phase: ClassVar[Phase] = Phase.EXECUTE

    def __init__(self, requests: RequestSpans, model: ModelSettings) -> None:
        self._requests = requests
        self._name = f"batch {model.name}"

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        recorded = self._requests.recorded
        members = [recorded[member] for member in context.links if member in recorded]
        if not members:
            return await call_next(request, context)
        span = self._requests.tracing.tracer.start_span(
            self._name,
            set_span_in_context(members[0].span, Context()),
            attributes=self._requests.attributes | {"mlsrv.batch.requests": len(context.links)},
            links=[Link(member.span.get_span_context()) for member in members],
        )
        for member in members:
            member.span.add_link(span.get_span_context())
            member.runs_elsewhere = member is not members[0]
        context.trace = headers_of(span)
        try:
            return await call_next(request, context)
        except BaseException as error:
            span.set_status(StatusCode.ERROR, str(error))
            raise
        finally:
            span.end()
