"""The requests that are being served: who still waits for them, and how to end them."""

from __future__ import annotations

import asyncio

from attrs import define

from mlsrv.context import CallContext
from mlsrv_rest.reply import Receive

PATIENCE = 0.02
"""Seconds after which somebody begins to listen for the client of a request going away. Most are answered
sooner, and do not pay for a task that listens."""


@define(slots=True, eq=False)
class Call:
    """An inference call that is waiting for its model."""

    task: asyncio.Task[object]
    receive: Receive
    context: CallContext
    seen: bool = False
    listener: asyncio.Task[None] | None = None
    gone: bool = False


class InFlight:
    """Keeps every request that is being served, notices clients that go away, and drains or cuts what is
    left."""

    def __init__(self) -> None:
        self._cutting = False
        self._tasks: set[asyncio.Task[object]] = set()
        self._calls: set[Call] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def enter(self) -> asyncio.Task[object]:
        """Note that the current task serves a request, until `leave`."""
        task = _current_task()
        self._tasks.add(task)
        return task

    def leave(self, task: asyncio.Task[object]) -> None:
        """The request was answered."""
        self._tasks.discard(task)

    def watch(self, receive: Receive, context: CallContext) -> Call:
        """From now on until `unwatch`, a client that goes away cancels the current task and the context. The
        body must have been read."""
        call = Call(_current_task(), receive, context)
        self._calls.add(call)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._tick)
        return call

    def unwatch(self, call: Call) -> None:
        """The model has answered."""
        self._calls.discard(call)
        if call.listener is not None:
            call.listener.cancel()

    def was_cut(self) -> bool:
        """Whether the current task, which was just cancelled, was cancelled because the server no longer
        waits. It may then go on, to answer so."""
        if self._cutting:
            _current_task().uncancel()
        return self._cutting

    async def finish(self, grace: float) -> None:
        """Wait up to `grace` seconds for every request, then cancel those that are left."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        while self._tasks and (left := deadline - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        if self._tasks:
            self._cutting = True
            for call in self._calls:
                call.context.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=1.0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        for call in self._calls:
            if call.listener is None and call.seen:
                call.listener = asyncio.ensure_future(self._listen(call))
            call.seen = True
        if self._calls:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._tick)

    async def _listen(self, call: Call) -> None:
        message = await call.receive()
        if message["type"] == "http.disconnect" and call in self._calls:
            call.gone = True
            call.context.cancel()
            call.task.cancel()


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("Requests are served in tasks.")
    return task
