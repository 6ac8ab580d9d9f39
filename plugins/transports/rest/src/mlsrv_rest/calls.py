"""Calls: the requests that are being served, their disconnect guard, their deadlines and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from time import monotonic
from typing import TypeVar

from attrs import define

from mlsrv.authorization import Principal
from mlsrv.context import CallContext
from mlsrv_rest.asgi import Receive
from mlsrv_rest.errors import ClientDisconnected
from mlsrv_rest.headers import context_of

_T = TypeVar("_T")

CHECK_SECONDS = 0.02
"""Seconds between two checks of the active calls. A call that lasts for longer listens for the disconnect
of its client; most are answered sooner, and do not pay for that."""


@define(slots=True, eq=False)
class Call:
    """A request that is being served.

    Attributes:
        task: serves it.
        receive: reports that the client disconnected, once the body has been read.
        model_context: context of the model's call while the model works on it, else None.
        request_context: context of the request, once its head has been parsed.
        disconnected: whether the task was cancelled because the client disconnected.
        counted_bytes: bytes of its body that count; see `mlsrv_rest.body_budget`.
        receive_deadline: time of the monotonic clock by which more of its body must have arrived; None while
            nothing is awaited.
        timed_out: whether the task was cancelled because of that deadline.
        checked: whether a check has seen the call.
        principal: who asks, if an authorizer is installed.
        lost: done once the connection has ended; None where the HTTP server has no such future.
        disconnect_listener: what listens for the disconnect, if anything does: `lost`, or else a task.
    """

    task: asyncio.Task[object]
    receive: Receive
    model_context: CallContext | None = None
    request_context: CallContext | None = None
    disconnected: bool = False
    counted_bytes: int = 0
    receive_deadline: float | None = None
    timed_out: bool = False
    checked: bool = False
    principal: Principal | None = None
    lost: asyncio.Future[None] | None = None
    disconnect_listener: asyncio.Future[None] | None = None

    def begin(self, headers: Mapping[str, str], request_id: str | None = None) -> CallContext:
        """Return the context of this request to a model, and have errors of it reported under its id.

        Args:
            headers: of the request, names in lower case.
            request_id: its id, else that of ``X-Request-Id``, else a new one.

        Raises:
            InvalidPayload: as `mlsrv_rest.headers.context_of`.
        """
        context = context_of(headers, request_id)
        context.principal = self.principal
        self.request_context = context
        return context

    async def wait_for(self, context: CallContext, answer: Awaitable[_T]) -> _T:
        """Return the answer of a model. A client that disconnects meanwhile cancels `context` and the task.

        Raises:
            ClientDisconnected: the client disconnected.
        """
        self.guard(context)
        try:
            return await answer
        except asyncio.CancelledError:
            if not self.disconnected:
                raise
            self.task.uncancel()
            raise ClientDisconnected from None
        finally:
            self.unguard()

    def guard(self, context: CallContext) -> None:
        """Cancel `context` and the task if the client disconnects before `unguard`."""
        self.model_context = self.request_context = context

    def unguard(self) -> None:
        """End the disconnect guard: the model has answered."""
        self.model_context = None
        if self.disconnect_listener is None:
            return
        if self.disconnect_listener is self.lost:
            self.lost.remove_done_callback(self._on_lost)
        else:
            self.disconnect_listener.cancel()

    def listen(self) -> None:
        """Listen for the disconnect of the client, which cancels what `guard` names."""
        if self.lost is None:
            self.disconnect_listener = asyncio.ensure_future(self._receive_disconnect())
        else:
            self.disconnect_listener = self.lost
            self.lost.add_done_callback(self._on_lost)

    async def _receive_disconnect(self) -> None:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            self._on_lost()

    def _on_lost(self, _: object = None) -> None:
        if self.model_context is not None:
            self.disconnected = True
            self.model_context.cancel()
            self.task.cancel()


class ActiveCalls:
    """Tracks every request that is being served, detects clients that disconnect or send too slowly, and
    drains the requests when the server stops."""

    def __init__(self) -> None:
        self._aborting = False
        self._calls: set[Call] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def enter(self, receive: Receive, lost: asyncio.Future[None] | None = None) -> Call:
        """Track a request, served by the current task, until `leave`.

        Args:
            receive: of the request.
            lost: done once its connection has ended, where the HTTP server tells that.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Requests are served in tasks.")
        call = Call(task, receive, lost=lost)
        self._calls.add(call)
        if self._timer is None:
            self._timer = task.get_loop().call_later(CHECK_SECONDS, self._check)
        return call

    def leave(self, call: Call) -> None:
        """Stop tracking a request: it was answered."""
        self._calls.discard(call)

    def was_aborted(self, call: Call) -> bool:
        """Return whether a call's task was just cancelled by `drain`. If so, the task may go on, to send a
        response that says so."""
        if self._aborting:
            call.task.uncancel()
        return self._aborting

    async def drain(self, grace: float) -> None:
        """Wait up to `grace` seconds for every request, then cancel the remaining ones."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        while self._calls and (left := deadline - loop.time()) > 0:
            await asyncio.wait({call.task for call in self._calls}, timeout=left)
        if self._calls:
            self._aborting = True
            for call in self._calls:
                if call.model_context is not None:
                    call.model_context.cancel()
                call.task.cancel()
            await asyncio.wait({call.task for call in self._calls}, timeout=1.0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        now = monotonic()
        for call in self._calls:
            if call.receive_deadline is not None and call.receive_deadline < now and not call.timed_out:
                call.timed_out = True
                call.task.cancel()
            if call.checked and call.model_context is not None and call.disconnect_listener is None:
                call.listen()
            call.checked = True
        if self._calls:
            self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)
