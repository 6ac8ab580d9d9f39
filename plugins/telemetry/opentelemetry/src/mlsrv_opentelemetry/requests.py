"""Request spans of the kernel: one for each request, each of its phases, and each batch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from attrs import define
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Link, Span, StatusCode, set_span_in_context

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv.interceptor import CallNext, Interceptor, Phase, StreamNext
from mlsrv.settings import ModelSettings
from mlsrv.timeline import Timeline
from mlsrv.utils import closing
from mlsrv_opentelemetry.phases import Clock, add_phases
from mlsrv_opentelemetry.propagation import headers_of, is_unrecorded
from mlsrv_opentelemetry.tracing import Tracing
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

_WHERE_THE_MODEL_RUNS = frozenset({"decode", "encode", "predict"})
"""Phases whose spans are made where the model runs, as children of the live span."""


class RequestSpans(Interceptor):
    """Makes one span for each request; ``context.trace`` holds the span while the request is answered.

    Attributes:
        recorded: the requests that are being answered and recorded.
    """

    phase: ClassVar[Phase] = Phase.OBSERVE
    infer_only: ClassVar[bool] = True

    def __init__(self, tracing: Tracing, model: ModelSettings) -> None:
        self.tracing = tracing
        self.attributes = tracing.attributes(model)
        self.recorded: dict[CallContext, Recorded] = {}
        self._name = f"infer {model.name}"

    def __call__(  # type: ignore[override]  # no coroutine for most requests: they are not recorded
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> Awaitable[InferenceResponse]:
        if is_unrecorded(context.trace):
            return call_next(request, context)
        return self._begun(request, context, call_next)

    async def _begun(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        with self._traced(context):
            return await call_next(request, context)

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        with self._traced(context) as request:
            count = 0
            try:
                async with closing(call_next(requests, context)) as responses:
                    async for response in responses:
                        count += 1
                        yield response
            finally:
                if request is not None:
                    request.span.set_attribute("mlsrv.stream.responses", count)

    @contextmanager
    def _traced(self, context: CallContext) -> Iterator[Recorded | None]:
        # An embedding application has no headers, but may have a span of its own.
        within = None if context.trace else get_current()
        span, headers = self.tracing.begin(self._name, context.trace, within, attributes=self.attributes)
        # Set back at the end: model code may call another model with its own context.
        outer = context.trace, context.timeline
        context.trace = headers
        try:
            if span is None:
                yield None
            else:
                context.timeline = context.timeline or Timeline()
                with self._recorded(span, context, context.timeline) as request:
                    yield request
        finally:
            context.trace, context.timeline = outer

    @contextmanager
    def _recorded(self, span: Span, context: CallContext, timeline: Timeline) -> Iterator[Recorded]:
        span.set_attribute("mlsrv.request.id", context.request_id)
        request = self.recorded[context] = Recorded(span)
        clock = Clock()
        try:
            yield request
        except GeneratorExit:
            raise  # the reader closed the stream, which is no error
        except BaseException as error:
            code = error.code.name if isinstance(error, MLSrvError) else type(error).__name__
            span.set_attribute("error.type", code)
            span.set_status(StatusCode.ERROR, str(error))
            raise
        finally:
            self.recorded.pop(context, None)
            skipped = frozenset() if request.runs_elsewhere else _WHERE_THE_MODEL_RUNS
            add_phases(self.tracing.tracer, span, timeline.spans, clock, skipped)
            span.end()


@define(eq=False)
class Recorded:
    """A request that is being answered and recorded.

    Attributes:
        span: of the request.
        runs_elsewhere: whether the model's own spans are in the trace of another request of the same batch.
    """

    span: Span
    runs_elsewhere: bool = False


class BatchSpans(Interceptor):
    """Makes one span for each batch, in the trace of its first recorded member, with links to all of them."""

    phase: ClassVar[Phase] = Phase.EXECUTE
    infer_only: ClassVar[bool] = True

    def __init__(self, requests: RequestSpans, model: ModelSettings) -> None:
        self._requests = requests
        self._name = f"batch {model.name}"

    def __call__(  # type: ignore[override]  # no coroutine for most requests: they are not recorded
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> Awaitable[InferenceResponse]:
        recorded = self._requests.recorded
        if recorded:
            members = [recorded[member] for member in context.links if member in recorded]
            if members:
                return self._recorded(members, request, context, call_next)
        return call_next(request, context)

    async def _recorded(
        self,
        members: Sequence[Recorded],
        request: InferenceRequest,
        context: CallContext,
        call_next: CallNext,
    ) -> InferenceResponse:
        span = self._begin(members, len(context.links))
        context.trace = headers_of(span)
        try:
            return await call_next(request, context)
        except BaseException as error:
            span.set_status(StatusCode.ERROR, str(error))
            raise
        finally:
            span.end()

    def _begin(self, members: Sequence[Recorded], size: int) -> Span:
        span = self._requests.tracing.tracer.start_span(
            self._name,
            set_span_in_context(members[0].span, Context()),
            attributes={**self._requests.attributes, "mlsrv.batch.requests": size},
            links=[Link(member.span.get_span_context()) for member in members],
        )
        for member in members:
            member.span.add_link(span.get_span_context())
            member.runs_elsewhere = member is not members[0]
        return span
