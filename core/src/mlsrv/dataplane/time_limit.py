"""Time limit: ends requests of one model that take too long, whether their clients gave a deadline or not."""

from __future__ import annotations

import asyncio
from asyncio import current_task
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

from mlsrv.context import CallContext
from mlsrv_protocol.types import InferenceRequest


class TimeLimit:
    """Limits how long a request may take (setting ``request_timeout``).

    All requests have the same time, so that they become late in the order in which they came: one timer
    serves them all, and a request needs none of its own.

    Args:
        seconds: the time of each request.
    """

    __slots__ = ("_cancelling", "_expired", "_running", "_timer", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # Requests are their contexts, each with its task: an object for each would cost more than all else.
        self._running: dict[CallContext | Running, asyncio.Task[Any] | None] = {}
        self._expired: dict[CallContext, asyncio.Task[Any]] = {}
        # Of tasks that were cancelled before, and went on: how often.
        self._cancelling: dict[CallContext, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, context: CallContext) -> bool:
        """Give a request its deadline, and watch the current task until `stop`.

        Returns:
            True if it is watched; False if it has an earlier deadline.
        """
        deadline = monotonic() + self.seconds
        if context.deadline is not None and context.deadline <= deadline:
            return False
        context.deadline = deadline
        if self._timer is None:
            self._set_timer(self.seconds)
        self._running[context] = task = current_task()
        if task is not None and (cancelling := task.cancelling()):
            self._cancelling[context] = cancelling
        return True

    def stop(self, context: CallContext) -> bool:
        """Watch a request no more. Returns True if its task was cancelled because its time was over, and for
        no other reason."""
        before = self._cancelling.pop(context, 0) if self._cancelling else 0
        if self._running.pop(context, None) is not None:
            return False
        task = self._expired.pop(context, None)
        return task is not None and task.uncancel() <= before

    def step(self) -> Running:
        """Watch the current task until `Running.stop`, for one step of a stream."""
        if self._timer is None:
            self._set_timer(self.seconds)
        return Running(monotonic() + self.seconds, self._running)

    def renew(self, running: Running) -> None:
        """Let the time begin anew."""
        if running in self._running:
            del self._running[running]
            running.deadline = monotonic() + self.seconds
            self._running[running] = None

    def _expire(self, context: CallContext, task: asyncio.Task[Any] | None) -> None:
        if task is not None:
            self._expired[context] = task
            task.cancel()

    def close(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        now = monotonic()
        while self._running:
            running = next(iter(self._running))
            if running.deadline is not None and running.deadline > now:
                self._set_timer(running.deadline - now)
                return
            if isinstance(running, CallContext):
                self._expire(running, self._running.pop(running))
            elif running.paused:
                self.renew(running)
            else:
                del self._running[running]
                running.expire()


class Running:
    """One step of a stream, or a request with a timer of its own.

    Args:
        deadline: see below.
        among: all that is watched; it is there until `stop`.

    Attributes:
        deadline: when its time is over, in seconds of `time.monotonic`.
        paused: whether its time does not count now.
    """

    # Of the class, as few requests change them: setting them for each would cost more.
    paused = False
    _expired = False

    def __init__(self, deadline: float, among: dict[Any, Any]) -> None:
        self.deadline = deadline
        self._task = task = current_task()
        self._cancelling = 0 if task is None else task.cancelling()
        self._all = among
        among[self] = None

    def expire(self) -> None:
        """Cancel the task, as the time is over."""
        if self._task is not None:
            self._expired = True
            self._task.cancel()

    def stop(self) -> bool:
        """Watch no more. Returns True if the task was cancelled because its time was over, and for no other
        reason."""
        self._all.pop(self, None)
        task, self._task = self._task, None  # its exception may have a traceback that leads here
        return self._expired and task is not None and task.uncancel() <= self._cancelling


class StreamTime:
    """The time of a stream: each response has the whole limit.

    The time in which the model waits for the client's next request does not count, nor that in which the
    client reads.

    Attributes:
        limit: of the model.
    """

    def __init__(self, limit: TimeLimit) -> None:
        self.limit = limit
        self._step: Running | None = None

    def start(self) -> Running:
        """Begin a step."""
        self._step = self.limit.step()
        return self._step

    async def requests(self, requests: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceRequest]:
        """Pass the requests of the client on."""
        while True:
            if self._step is not None:
                self._step.paused = True
            request = await anext(requests, None)
            if (step := self._step) is not None:
                step.paused = False
                self.limit.renew(step)
            if request is None:
                return
            yield request
