"""Threads: daemon threads for code of models that blocks."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from mlsrv.errors import RequestCancelled

__all__ = ["Threads", "run_in_own_thread"]

_T = TypeVar("_T")


class Threads:
    """A fixed number of daemon threads, started when they are first needed.

    The pool of `concurrent.futures` joins its threads when the interpreter exits, so that one model that
    hangs would keep the whole process alive; these do not.

    Args:
        size: how many threads there may be.
        name: how they are called, with a number appended.
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self.name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._started = 0
        self._idle: deque[None] = deque()  # one entry for each thread that has nothing to do
        self._closed = False

    async def run(self, function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
        """Call a function in a thread, with the caller's context variables.

        Cancelling drops a call that has not begun; one that has begun goes on, and its result is discarded.

        Raises:
            RequestCancelled: the pool was closed before the call began.
            Exception: raised by the function; other exceptions, such as SystemExit, become a RuntimeError.
        """
        if self._closed:
            raise RequestCancelled("The server is stopping.")
        loop = asyncio.get_running_loop()
        work = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        future = loop.create_future()
        try:
            # Counted by threads, not by callers: that of a caller who was cancelled may still be busy.
            if self._idle:
                self._idle.pop()
            elif self._started < self.size:
                self._start()
            self._jobs.put(_Job(loop, future, work))
            return await future  # type: ignore[no-any-return]  # what `function` returned
        finally:
            # The traceback of an exception holds this frame, and the future holds the exception: without this
            # the locals of a function that fails would stay until the next full garbage collection.
            del future

    def close(self) -> None:
        """End the threads that are idle; busy ones end after what they are doing. Idempotent."""
        self._closed = True
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                job.refuse(RequestCancelled("The server is stopping."))
        for _ in range(self._started):
            self._jobs.put(None)

    def _start(self) -> None:
        self._started += 1
        name = f"{self.name}-{self._started}"
        threading.Thread(target=_work, args=(self._jobs, self._idle), name=name, daemon=True).start()


async def run_in_own_thread(function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
    """Call a function in a thread of its own, for work that may take long and must not delay other calls."""
    threads = Threads(1, f"mlsrv-{getattr(function, '__name__', 'call')}")
    try:
        return await threads.run(function, *args, **kwargs)
    finally:
        threads.close()


class _Job:
    __slots__ = ("future", "loop", "work")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], work: Callable[[], Any]
    ) -> None:
        self.loop = loop
        self.future = future
        self.work = work

    def run(self, idle: deque[None]) -> None:
        """Do the work, and add an entry to `idle` before the caller learns of its end."""
        if self.future.cancelled():
            idle.append(None)
            return
        try:
            result = self.work()
        except BaseException as error:  # user code; what it raises belongs to the caller
            idle.append(None)
            self.refuse(error)
            del self  # the traceback of the error holds this frame, and the future the error
        else:
            idle.append(None)
            self._settle(self.future.set_result, result)

    def refuse(self, error: BaseException) -> None:
        # A future takes no StopIteration, and exceptions such as SystemExit would end the event loop.
        if isinstance(error, StopIteration) or not isinstance(error, Exception):
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            cause, error = error, RuntimeError(text)
            error.__cause__ = cause
        self._settle(self.future.set_exception, error)

    def _settle(self, settle: Callable[[Any], None], outcome: object) -> None:
        try:
            self.loop.call_soon_threadsafe(self._unless_done, settle, outcome)
        except RuntimeError:
            return  # the loop is closed: no caller waits any more

    def _unless_done(self, settle: Callable[[Any], None], outcome: object) -> None:
        if not self.future.done():
            settle(outcome)


def _work(jobs: queue.SimpleQueue[_Job | None], idle: deque[None]) -> None:
    while (job := jobs.get()) is not None:
        job.run(idle)
        del job  # not to keep a request alive while waiting for the next one
