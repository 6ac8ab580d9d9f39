"""Time limit: ends requests of one model that take too long, whether their clients gave a deadline or not."""

from __future__ import annotations

import asyncio
from asyncio import current_task
from collections.abc import AsyncIterator
from time import monotonic

from mlsrv.context import CallContext
from mlsrv_protocol.types import InferenceRequest


class TimeLimit:
    """Limits how long a request may take (setting ``request_timeout``).

    All requests have the same time, so that they become late in the order in which they came: one timer
    serves them all, and a request needs none of its own.

    Args:
        seconds: the time of each request.
    """

    __slots__ = ("_running", "_timer", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: dict[Running, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, context: CallContext) -> Running | None:
        """Give a request its deadline, and watch the current task until `Running.stop`.

        Returns:
            What is watched; None if the client gave an earlier deadline.
        """
        deadline = monotonic() + self.seconds
        if context.deadline is not None and context.deadline <= deadline:
            return None
        context.deadline = deadline
        if self._timer is None:
            self._set_timer(self.seconds)
        return Running(deadline, self._running)

    def step(self) -> Running:
        """Watch the current task until `Running.stop`, for one step of a stream."""
        if self._timer is None:
            self._set_timer(self.seconds)
        return Running(monotonic() + self.seconds, self._running)

    def renew(self, running: Running) -> None:
        """Let the time begin anew."""
        if self._running.pop(running, running) is None:
            running.deadline = monotonic() + self.seconds
            self._running[running] = None

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
            if running.deadline > now:
                self._set_timer(running.deadline - now)
                return
            if running.paused:
                self.renew(running)
            else:
                del self._running[running]
                running.expire()


class Running:
    """A request that is answered now, or one step of a stream.

    Args:
        deadline: see below.
        among: all that is watched; it is there until `stop`.

    Attributes:
        deadline: when its time is over, in seconds of `time.monotonic`.
        paused: whether its time does not count now.
    """

    __slots__ = ("_all", "_cancelling", "_expired", "_task", "deadline", "paused")

    def __init__(self, deadline: float, among: dict[Running, None]) -> None:
        self.deadline = deadline
        self.paused = False
        self._task = task = current_task()
        self._cancelling = 0 if task is None else task.cancelling()
        self._expired = False
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
