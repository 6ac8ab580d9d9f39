"""Time limit: ends requests of one model that take too long, whether their clients gave a deadline or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

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
        """Give a request its deadline, and watch the current task until `stop`.

        Returns:
            What is watched; None if the client gave an earlier deadline.
        """
        deadline = time.monotonic() + self.seconds
        if context.deadline is not None and context.deadline <= deadline:
            return None
        context.deadline = deadline
        return self._watch(deadline)

    def step(self) -> Running:
        """Watch the current task until `stop`, for one step of a stream."""
        return self._watch(time.monotonic() + self.seconds)

    def renew(self, running: Running) -> None:
        """Let the time begin anew."""
        if self._running.pop(running, running) is None:
            running.deadline = time.monotonic() + self.seconds
            self._running[running] = None

    def stop(self, running: Running) -> bool:
        """Watch no more. Returns True if the task was cancelled because its time was over, and for no other
        reason."""
        self._running.pop(running, None)
        return running.settled()

    def close(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, deadline: float) -> Running:
        running = Running(deadline)
        self._running[running] = None
        if self._timer is None:
            self._set_timer(self.seconds)
        return running

    def _set_timer(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
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

    Attributes:
        deadline: when its time is over, in seconds of `time.monotonic`.
        paused: whether its time does not count now.
    """

    __slots__ = ("_cancelling", "_expired", "_task", "deadline", "paused")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.paused = False
        self._task = asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self._expired = False

    def expire(self) -> None:
        """Cancel the task, as the time is over."""
        if self._task is not None:
            self._expired = True
            self._task.cancel()

    def settled(self) -> bool:
        """Take back what `expire` did. Returns True if it did, and there is no other cancellation."""
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
