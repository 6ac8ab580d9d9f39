"""Access log: one record for each gRPC call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from functools import partial
from time import perf_counter
from typing import Any, Final
from urllib.parse import unquote

import grpc.aio

from mlsrv.context import CallContext
from mlsrv.kernel_api import Access, KernelAPI
from mlsrv_grpc.handler_wrapping import CoroutineBehaviour, GeneratorBehaviour, wrap_handler
from mlsrv_grpc.status import Rpc, cancellation_name, code_name

_QUIET: Final = ("Live", "Ready", "/Check", "/Watch")


class LoggedCall:
    """A call that is logged once it is over.

    Attributes:
        context: of its first request, once that has been decoded.
    """

    def __init__(self, kernel: KernelAPI, method: str, rpc: Rpc) -> None:
        self.context: CallContext | None = None
        self._kernel = kernel
        self._method = method
        self._rpc = rpc
        self._started = perf_counter()

    def note(self, error: BaseException | None) -> None:
        """Log the call, which is over; `error` is what ended it, if anything did."""
        log = self._kernel.access
        if log is not None:
            seconds, client = perf_counter() - self._started, host_of(self._rpc.peer())
            quiet = self._method.endswith(_QUIET)
            status = _status(self._rpc, error)
            log.note(Access("grpc", self._method, status, seconds, client, self.context, quiet))


current_call: ContextVar[LoggedCall | None] = ContextVar("mlsrv_grpc_call", default=None)
"""The call that is being answered, if it is logged."""


def note_model(name: str) -> None:
    """Note the model that the present call is about, if the call is logged and no request to it."""
    call = current_call.get()
    if call is not None and call.context is None and name:
        call.context = CallContext("", transport="grpc", model=name)


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Logs each call, once it is over."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        return handler if handler is None else self._logging(handler, handler_call_details.method)

    def _logging(self, handler: Any, method: str) -> Any:
        """Return the handler wrapped so that each call is logged."""
        return wrap_handler(handler, partial(self._coroutine, method), partial(self._generator, method))

    def _coroutine(self, method: str, behaviour: CoroutineBehaviour) -> CoroutineBehaviour:
        async def logged(request: Any, rpc: Rpc) -> Any:
            call = LoggedCall(self._kernel, method, rpc)
            current_call.set(call)
            try:
                answer = await behaviour(request, rpc)
            except BaseException as error:
                call.note(error)
                raise
            call.note(None)
            return answer

        return logged

    def _generator(self, method: str, behaviour: GeneratorBehaviour) -> GeneratorBehaviour:
        async def logged(request: Any, rpc: Rpc) -> AsyncIterator[Any]:
            call = LoggedCall(self._kernel, method, rpc)
            current_call.set(call)
            try:
                async for answer in behaviour(request, rpc):
                    yield answer
            except BaseException as error:
                call.note(error)
                raise
            call.note(None)

        return logged


def _status(rpc: Rpc, error: BaseException | None) -> str:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return cancellation_name(rpc)
    name = code_name(rpc)
    return "UNKNOWN" if error is not None and name == "OK" else name


def host_of(peer: str) -> str:
    """Return the address in ``ipv4:127.0.0.1:50000``, ``ipv6:%5B::1%5D:50000`` or ``unix:/path``."""
    kind, _, address = peer.partition(":")
    return address if kind == "unix" else unquote(address.rpartition(":")[0]).strip("[]")
