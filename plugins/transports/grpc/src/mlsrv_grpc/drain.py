"""Drain: refuses new calls while the server stops, and waits for those that are running.

A gRPC server that shuts down cancels the calls that it has received but not handed to a handler, and those
that arrive until its clients know: they end with CANCELLED, as if their clients had cancelled them. So calls
are refused here with UNAVAILABLE, which clients retry, until none is running; then the server shuts down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import grpc

from mlsrv.errors import MLSrvError, Overloaded, ServerNotReady
from mlsrv.utils import closing
from mlsrv_grpc.delivery import Delivery
from mlsrv_grpc.handler_wrapping import (
    CoroutineBehaviour,
    GeneratorBehaviour,
    WrappedHandlers,
    wrap_handler,
)
from mlsrv_grpc.message_budget import MessageBudget
from mlsrv_grpc.status import Rpc, refuse

_ABORT_SECONDS: Final = 3.0


class DrainableRouter(grpc.GenericRpcHandler):
    """Dispatches calls to handlers until it is closed, then refuses them.

    Calls of handlers that are plain functions, which gRPC runs in threads, are not tracked.

    Args:
        handlers: the first that has the method of a call gets it.
        delivery: watches over answers that are to be written.
        budget: counts the messages of calls that stream no requests.
    """

    def __init__(
        self, handlers: Iterable[grpc.GenericRpcHandler], delivery: Delivery, budget: MessageBudget
    ) -> None:
        self.delivery = delivery
        self._budget = budget
        self._counted: dict[asyncio.Task[object], int] = {}
        self._handlers = tuple(handlers)
        self._tracked = WrappedHandlers(self._track)
        self._calls: set[asyncio.Task[object]] = set()
        self._call_ended = asyncio.Event()
        self._closed = False
        self._aborting = False
        # The only kind of handler that is called before a request is read.
        self._refusal: Any = grpc.stream_stream_rpc_method_handler(_refuse)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call that arrives, or None."""
        if self._closed:
            return self._refusal
        for source in self._handlers:
            handler = source.service(handler_call_details)
            if handler is not None:
                return self._tracked.wrapped(handler, str(handler_call_details.method))
        return None

    def close(self) -> None:
        """Refuse every call from now on."""
        self._closed = True

    async def drain(self, grace: float) -> None:
        """Wait up to `grace` seconds for the running calls, then abort the remaining ones."""
        if not await self._wait_until_empty(grace):
            self._aborting = True
            for task in self._calls:
                task.cancel()
            await self._wait_until_empty(_ABORT_SECONDS)

    async def _wait_until_empty(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while self._calls:
                    self._call_ended.clear()
                    await self._call_ended.wait()
        except TimeoutError:
            return False
        return True

    def _track(self, handler: Any, method: str) -> Any:
        return wrap_handler(handler, self._coroutine, self._generator)

    def _coroutine(self, behaviour: CoroutineBehaviour) -> CoroutineBehaviour:
        async def tracked(request: Any, rpc: Rpc) -> Any:
            task = self._enter(rpc)
            problem: MLSrvError
            try:
                self._hold(task, request)
                answer = await behaviour(request, rpc)
                self.delivery.begin(task, rpc, answer)
                return answer
            except Overloaded as error:
                problem = error
            except asyncio.CancelledError:
                if not self._aborting or rpc.cancelled():
                    raise
                problem = _cut(task)
            await refuse(rpc, problem)

        return tracked

    def _generator(self, behaviour: GeneratorBehaviour) -> CoroutineBehaviour:
        # It writes for itself: gRPC would not pass on to a generator that the call is aborted during a write.
        async def tracked(request: Any, rpc: Rpc) -> None:
            task = self._enter(rpc)
            problem: MLSrvError
            try:
                self._hold(task, request)
                async with closing(behaviour(request, rpc)) as answers:
                    async for answer in answers:
                        self.delivery.begin(task, rpc, answer)
                        await rpc.write(answer)
                        self.delivery.end(task)
                return
            except Overloaded as error:
                problem = error
            except asyncio.CancelledError:
                if not self._aborting or rpc.cancelled():
                    raise
                problem = _cut(task)
            await refuse(rpc, problem)

        return tracked

    def _enter(self, rpc: Rpc) -> asyncio.Task[object]:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        # Not when the handler returns: its response has not been written then.
        rpc.add_done_callback(partial(self._leave, task))  # type: ignore[arg-type]  # the stubs name a class
        return task

    def _hold(self, task: asyncio.Task[object], request: object) -> None:
        counted = self._budget.hold(request)
        if counted:
            self._counted[task] = counted

    def _leave(self, task: asyncio.Task[object], _: Rpc) -> None:
        self._calls.discard(task)
        self._budget.release(self._counted.pop(task, 0))
        self.delivery.end(task)
        if not self._calls:
            self._call_ended.set()


async def _refuse(requests: object, rpc: Rpc) -> None:
    await refuse(rpc, ServerNotReady("The server is stopping."))


def _cut(task: asyncio.Task[object]) -> MLSrvError:
    """Return the error of a call that was cancelled since the server does not wait for it any longer."""
    task.uncancel()
    return ServerNotReady("The server is stopping and did not wait for this request any longer.")
