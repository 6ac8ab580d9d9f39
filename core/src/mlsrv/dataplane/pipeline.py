"""Pipeline: composes interceptors and a placement into nested callables, once for each load."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

from mlsrv.context import CallContext
from mlsrv.handlers import Arguments
from mlsrv.interceptor import CallNext, HandlerNext, Interceptor, StreamNext, passed_by
from mlsrv.placement import Placement
from mlsrv.utils import closing
from mlsrv_hosting_kit.timeline import Timeline
from mlsrv_protocol.types import InferenceRequest, InferenceResponse


def compile_infer(interceptors: Sequence[Interceptor], infer: CallNext) -> CallNext:
    """The function that answers one request; the first interceptor is the outermost, `infer` the
    innermost."""
    call = infer
    for interceptor in reversed(interceptors):
        call = _around(interceptor, call)
    return call


def compile_stream(interceptors: Sequence[Interceptor], placement: Placement) -> StreamNext:
    """The function that answers a stream. Interceptors that streams pass by are left out."""
    call: StreamNext = placement.stream
    for interceptor in reversed(interceptors):
        if type(interceptor).stream is not Interceptor.stream or not passed_by(interceptor):
            call = _around_stream(interceptor, call)
    return call


def compile_call(interceptors: Sequence[Interceptor], placement: Placement) -> HandlerNext:
    """The function that calls a custom handler. Interceptors that those calls pass by are left out."""
    call: HandlerNext = placement.call
    for interceptor in reversed(interceptors):
        if type(interceptor).call is not Interceptor.call or not passed_by(interceptor):
            call = _around_call(interceptor, call)
    return call


def observed_stream(inner: StreamNext) -> StreamNext:
    """The same function, for each call of which the context has a timeline of its own."""

    async def call(
        requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        outer = context.timeline, context.batches
        context.timeline, context.batches = Timeline(), ()
        try:
            async with closing(inner(requests, context)) as responses:
                async for response in responses:
                    yield response
        finally:
            context.timeline, context.batches = outer

    return call


def _around(interceptor: Interceptor, inner: CallNext) -> CallNext:
    # Not a coroutine function: one coroutine for each interceptor is enough.
    def call(request: InferenceRequest, context: CallContext) -> Awaitable[InferenceResponse]:
        return interceptor(request, context, inner)

    return call


def _around_stream(interceptor: Interceptor, inner: StreamNext) -> StreamNext:
    def call(
        requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        return interceptor.stream(requests, context, inner)

    return call


def _around_call(interceptor: Interceptor, inner: HandlerNext) -> HandlerNext:
    def call(method: str, arguments: Arguments, context: CallContext) -> Awaitable[Any]:
        return interceptor.call(method, arguments, context, inner)

    return call
