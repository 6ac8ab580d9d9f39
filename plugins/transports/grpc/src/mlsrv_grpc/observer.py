"""Call observer: learns status and duration of each call, for the metrics and the access log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from functools import partial
from time import perf_counter
from typing import Any

import grpc.aio

from mlsrv.context import CallContext
from mlsrv.kernel_api import KernelAPI
from mlsrv_grpc.access import access_record
from mlsrv_grpc.call_metrics import MethodMetrics, Unmeasured
from mlsrv_grpc.handler_wrapping import (
    CoroutineBehaviour,
    GeneratorBehaviour,
    WrappedHandlers,
    wrap_handler,
)
from mlsrv_grpc.status import Rpc, cancellation_name, code_name


class ObservedCall:
    """A call that is reported once it is over.

    Attributes:
        context: of its first request, once that has been decoded.
    """

    def __init__(self, kernel: KernelAPI, method: str, rpc: Rpc, metrics: MethodMetrics) -> None:
        self.context: CallContext | None = None
        self._kernel = kernel
        self._method = method
        self._rpc = rpc
        self._metrics = metrics
        self._began = perf_counter()
        metrics.begin()

    def end(self, error: BaseException | None) -> None:
        """Report the call, which is over; `error` is what ended it, if anything did."""
        status, seconds = _status(self._rpc, error), perf_counter() - self._began
        self._metrics.end(status, seconds)
        log = self._kernel.access
        if log is not None:
            log.note(access_record(self._method, self._rpc, status, seconds, self.context))


current_call: ContextVar[ObservedCall | None] = ContextVar("mlsrv_grpc_call", default=None)
"""The call that is being answered, if it is observed."""


def note_model(name: str) -> None:
    """Note the model that the present call is about, if the call is observed and no request to it."""
    call = current_call.get()
    if call is not None and call.context is None and name:
        call.context = CallContext("", transport="grpc", model=name)


class CallObserver(grpc.aio.ServerInterceptor):
    """The outermost interceptor, used where there are meters or an access log.

    Args:
        kernel: has the meters and the access log.
        measured: the metrics of methods by their full name; those of others are not recorded.
    """

    def __init__(self, kernel: KernelAPI, measured: Mapping[str, MethodMetrics]) -> None:
        self._kernel = kernel
        self._measured = measured
        self._unmeasured = Unmeasured()
        self._handlers = WrappedHandlers(self._observed)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        return handler and self._handlers.wrapped(handler, handler_call_details.method)

    def _observed(self, handler: Any, method: str) -> Any:
        metrics = self._measured.get(method, self._unmeasured)
        begin = partial(self._begin, method, metrics)
        return wrap_handler(handler, partial(_coroutine, begin, metrics), partial(_generator, begin))

    def _begin(self, method: str, metrics: MethodMetrics, rpc: Rpc) -> ObservedCall:
        call = ObservedCall(self._kernel, method, rpc, metrics)
        current_call.set(call)
        return call


def _coroutine(begin: Any, metrics: MethodMetrics, behaviour: CoroutineBehaviour) -> CoroutineBehaviour:
    async def observed(request: Any, rpc: Rpc) -> Any:
        call = begin(rpc)
        try:
            answer = await behaviour(*metrics.counted(request, rpc))
        except BaseException as error:
            call.end(error)
            raise
        call.end(None)
        return answer

    return observed


def _generator(begin: Any, behaviour: GeneratorBehaviour) -> GeneratorBehaviour:
    # Those of plugins alone, which are not measured.
    async def observed(request: Any, rpc: Rpc) -> AsyncIterator[Any]:
        call = begin(rpc)
        try:
            async for answer in behaviour(request, rpc):
                yield answer
        except BaseException as error:
            call.end(error)
            raise
        call.end(None)

    return observed


def _status(rpc: Rpc, error: BaseException | None) -> str:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return cancellation_name(rpc)
    name = code_name(rpc)
    return "UNKNOWN" if error is not None and name == "OK" else name
