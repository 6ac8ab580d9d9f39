"""Which calls are let in, and the end of those that are.

A gRPC server that shuts down cancels the calls that it has received and not handed to a handler yet, and
those that come until its clients know: they get CANCELLED, as if they had given up themselves. So calls are
refused here, with the status that means "try again", until none are left, and the server shuts down then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, NoReturn

import grpc

from mlsrv.errors import ServerNotReady
from mlsrv_grpc.handler_wrapping import Answer, Answers, wrapped
from mlsrv_grpc.status import Rpc, refuse

_CUTTING_SECONDS: Final = 1.0


class Gate(grpc.GenericRpcHandler):
    """Hands calls to handlers until it is closed, and refuses them from then on.

    Calls of handlers that are plain functions, which gRPC runs in threads, are not known to it.

    Args:
        handlers: the first that knows the method of a call gets it.
    """

    def __init__(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._handlers = tuple(handlers)
        self._guarded: dict[str, tuple[Any, Any]] = {}
        self._calls: set[asyncio.Task[object]] = set()
        self._left = asyncio.Event()
        self._closed = False
        self._cutting = False
        # Of the kind that answers without reading anything.
        self._refusal: Any = grpc.stream_stream_rpc_method_handler(_refuse)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call that arrives, or None."""
        if self._closed:
            return self._refusal
        for source in self._handlers:
            handler = source.service(handler_call_details)
            if handler is not None:
                return self._guard(handler, str(handler_call_details.method))
        return None

    def close(self) -> None:
        """Refuse every call from now on."""
        self._closed = True

    async def drain(self, grace: float) -> None:
        """Wait up to `grace` seconds for the calls that were let in, then end those that are left."""
        if not await self._empty(grace):
            self._cutting = True
            for task in self._calls:
                task.cancel()
            await self._empty(_CUTTING_SECONDS)

    async def _empty(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while self._calls:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            return False
        return True

    def _guard(self, handler: Any, method: str) -> Any:
        known, guarded = self._guarded.get(method, (None, None))
        if known is not handler:
            guarded = wrapped(handler, self._coroutine, self._generator)
            self._guarded[method] = handler, guarded
        return guarded

    def _coroutine(self, behaviour: Answer) -> Answer:
        async def guarded(request: Any, rpc: Rpc) -> Any:
            task = self._enter(rpc)
            try:
                return await behaviour(request, rpc)
            except asyncio.CancelledError:
                if not self._cutting or rpc.cancelled():
                    raise
            await _cut(task, rpc)

        return guarded

    def _generator(self, behaviour: Answers) -> Answers:
        async def guarded(request: Any, rpc: Rpc) -> AsyncIterator[Any]:
            task = self._enter(rpc)
            try:
                async for answer in behaviour(request, rpc):
                    yield answer
                return
            except asyncio.CancelledError:
                if not self._cutting or rpc.cancelled():
                    raise
            await _cut(task, rpc)

        return guarded

    def _enter(self, rpc: Rpc) -> asyncio.Task[object]:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        # Not when the handler returns: its answer has not been written then.
        rpc.add_done_callback(lambda _: self._leave(task))  # type: ignore[arg-type]  # the stubs name a class
        return task

    def _leave(self, task: asyncio.Task[object]) -> None:
        self._calls.discard(task)
        if not self._calls:
            self._left.set()


async def _refuse(requests: object, rpc: Rpc) -> None:
    await refuse(rpc, ServerNotReady("The server is stopping."))


async def _cut(task: asyncio.Task[object], rpc: Rpc) -> NoReturn:
    task.uncancel()
    await refuse(rpc, ServerNotReady("The server is stopping and did not wait for this request any longer."))
