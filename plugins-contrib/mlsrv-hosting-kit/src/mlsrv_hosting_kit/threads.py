"""Threads: daemon threads for code of models that blocks."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from mlsrv_hosting_kit import forks
from mlsrv_protocol.errors import RequestCancelled, text_of

__all__ = ["Threads", "run_in_own_thread"]

logger = logging.getLogger("mlsrv.threads")

OVERDUE_AFTER = 10.0
"""Seconds for which a call that was given up may go on before another thread takes the place of its own."""

_T = TypeVar("_T")


class Threads:
    """A fixed number of daemon threads, started when they are first needed.

    The pool of `concurrent.futures` joins its threads when the interpreter exits, so that one model that
    hangs would keep the whole process alive; these do not.

    Args:
        size: how many threads there may be.
        name: how they are called, with a number appended.
        spare: how many more there may be in place of those whose calls were given up and go on: no thread can
            be ended from outside.
        overdue_after: seconds until that is done; default: `OVERDUE_AFTER`.
        label: returns what the log calls the present call.
    """

    def __init__(
        self,
        size: int,
        name: str,
        spare: int = 0,
        overdue_after: float | None = None,
        label: Callable[[], str] = lambda: "A call",
    ) -> None:
        self.size = size
        self.name = name
        self._spare = spare
        self._label = label
        self._overdue_after = OVERDUE_AFTER if overdue_after is None else overdue_after
        self._overdue: set[_Job] = set()
        # For what threads change, too: the overdue jobs, and how many threads there are.
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._started = 0
        self._named = 0
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
        job = _Job(loop, loop.create_future(), work)
        try:
            # Counted by threads, not by callers: that of a caller who was cancelled may still be busy.
            if self._idle:
                self._idle.pop()
            else:
                with self._lock:
                    if self._may_start:
                        self._start()
            self._jobs.put(job)
            return await job.future  # type: ignore[no-any-return]  # what `function` returned
        except asyncio.CancelledError:
            if self._spare and not self._closed:
                loop.call_later(self._overdue_after, self._replace, job, self._label())
            raise
        finally:
            # The traceback of an exception holds this frame, and the future holds the exception: without this
            # the locals of a function that fails would stay until the next full garbage collection.
            del job

    @property
    def stuck(self) -> bool:
        """True if calls that were given up have taken every thread, and those that replaced them."""
        return len(self._overdue) >= self.size + self._spare

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

    @property
    def _may_start(self) -> bool:
        return self._started - min(len(self._overdue), self._spare) < self.size

    def _start(self) -> None:
        self._started += 1
        self._named += 1
        name = f"{self.name}-{self._named}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _replace(self, job: _Job, label: str) -> None:
        """Let another thread take the place of that of a job which was given up, if it still runs."""
        with self._lock:
            if job.ended or not job.began or self._closed:
                return
            self._overdue.add(job)
            if self._may_start and not self._jobs.empty():
                self._start()
        logger.warning("%s was given up %g s ago and still runs in a thread", label, self._overdue_after)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.run(self._end):
                return
            del job  # not to keep a request alive while waiting for the next one

    def _end(self, job: _Job) -> bool:
        """Note the end of a job, before its caller learns of it. Returns whether its thread goes on."""
        with self._lock:
            job.ended = True
            if self._overdue or self._started > self.size:
                self._overdue.discard(job)
                if self._started - min(len(self._overdue), self._spare) > self.size:
                    self._started -= 1  # another one has taken its place
                    return False
            self._idle.append(None)
            return True


async def run_in_own_thread(function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
    """Call a function in a thread of its own, for work that may take long and must not delay other calls."""
    threads = Threads(1, f"mlsrv-{getattr(function, '__name__', 'call')}")
    try:
        return await threads.run(function, *args, **kwargs)
    finally:
        threads.close()


class _Job:
    __slots__ = ("began", "ended", "future", "loop", "work")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], work: Callable[[], Any]
    ) -> None:
        self.loop = loop
        self.future = future
        self.work: Callable[[], Any] | None = work
        self.began = False
        self.ended = False

    def run(self, end: Callable[[_Job], bool]) -> bool:
        """Do the work, and call `end` before the caller learns of its end. Returns what that does."""
        work, self.work = self.work, None
        if work is None or self.future.cancelled():
            return end(self)
        self.began = True
        before = forks.forks
        try:
            result = work()
            forks.end_if_forked(before)
        except BaseException as error:  # user code; what it raises belongs to the caller
            forks.end_if_forked(before)
            goes_on = end(self)
            self.refuse(as_exception(error))
            del self  # the traceback of the error holds this frame, and the future the error
        else:
            goes_on = end(self)
            self._settle(self.future.set_result, result)
        return goes_on

    def refuse(self, error: Exception) -> None:
        self._settle(self.future.set_exception, error)

    def _settle(self, settle: Callable[[Any], None], outcome: object) -> None:
        try:
            self.loop.call_soon_threadsafe(self._unless_done, settle, outcome)
        except RuntimeError:
            return  # the loop is closed: no caller waits any more

    def _unless_done(self, settle: Callable[[Any], None], outcome: object) -> None:
        if not self.future.done():
            settle(outcome)


def as_exception(error: BaseException) -> Exception:
    """Return what user code has raised, or a RuntimeError in place of what futures and event loops refuse:
    StopIteration, and exceptions such as SystemExit."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    text = text_of(error)
    wrapped = RuntimeError(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    wrapped.__cause__ = error
    return wrapped
