"""The requests that are being served: who still waits for them or sends them, and how to end them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import TypeVar

from attrs import define

from mlsrv.context import CallContext
from mlsrv_rest.errors import ClientGone
from mlsrv_rest.reply import Receive

_T = TypeVar("_T")

PATIENCE = 0.02
"""Seconds after which somebody begins to listen for the client of a request going away. Most are answered
sooner, and do not pay for a task that listens."""


@define(slots=True, eq=False)
class Call:
    """A request that is being served.

    Attributes:
        task: serves it.
        receive: tells when the client goes away, once the body has been read.
        context: that of the model's call, while the model works on it, else None.
        asked: that of the request, once it is understood.
        gone: whether the client went away, and the task was cancelled for that.
        kept: bytes of its body that count; see `mlsrv_rest.body_budget`.
        due: when more of its body must have come, by the monotonic clock; None when nothing is awaited.
        late: whether it had not, and the task was cancelled for that.
    """

    task: asyncio.Task[object]
    receive: Receive
    context: CallContext | None = None
    asked: CallContext | None = None
    gone: bool = False
    kept: int = 0
    due: float | None = None
    late: bool = False
    seen: bool = False
    listener: asyncio.Task[None] | None = None

    async def answered(self, context: CallContext, answer: Awaitable[_T]) -> _T:
        """Wait for the answer of a model. A client that goes away meanwhile cancels its context and the task.

        Raises:
            ClientGone: the client went away.
        """
        self.watch(context)
        try:
            return await answer
        except asyncio.CancelledError:
            if not self.gone:
                raise
            self.task.uncancel()
            raise ClientGone from None
        finally:
            self.unwatch()

    def watch(self, context: CallContext) -> None:
        """From now on until `unwatch`, a client that goes away cancels the context and the task."""
        self.context = self.asked = context

    def unwatch(self) -> None:
        """The model has answered."""
        self.context = None
        if self.listener is not None:
            self.listener.cancel()

    async def listen(self) -> None:
        """Wait for the client to go away."""
        message = await self.receive()
        if message["type"] == "http.disconnect" and self.context is not None:
            self.gone = True
            self.context.cancel()
            self.task.cancel()


class InFlight:
    """Keeps every request that is being served, notices clients that go away or send too slowly, and drains
    or cuts what is left."""

    def __init__(self) -> None:
        self._cutting = False
        self._calls: set[Call] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def enter(self, receive: Receive) -> Call:
        """Note that the current task serves a request, until `leave`."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Requests are served in tasks.")
        call = Call(task, receive)
        self._calls.add(call)
        if self._timer is None:
            self._timer = task.get_loop().call_later(PATIENCE, self._tick)
        return call

    def leave(self, call: Call) -> None:
        """The request was answered."""
        self._calls.discard(call)

    def was_cut(self, call: Call) -> bool:
        """Whether the call's task, which was just cancelled, was cancelled because the server no longer
        waits. It may then go on, to answer so."""
        if self._cutting:
            call.task.uncancel()
        return self._cutting

    async def finish(self, grace: float) -> None:
        """Wait up to `grace` seconds for every request, then cancel those that are left."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        while self._calls and (left := deadline - loop.time()) > 0:
            await asyncio.wait({call.task for call in self._calls}, timeout=left)
        if self._calls:
            self._cutting = True
            for call in self._calls:
                if call.context is not None:
                    call.context.cancel()
                call.task.cancel()
            await asyncio.wait({call.task for call in self._calls}, timeout=1.0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        now = monotonic()
        for call in self._calls:
            if call.due is not None and call.due < now and not call.late:
                call.late = True
                call.task.cancel()
            if call.seen and call.context is not None and call.listener is None:
                call.listener = asyncio.ensure_future(call.listen())
            call.seen = True
        if self._calls:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._tick)
