"""Threads that stay answerable for what they run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from mlsrv.threads import Threads

_T = TypeVar("_T")


class PatientThreads(Threads):
    """Threads whose cancelled calls end when the function has ended, not before.

    A function cannot be interrupted. Were its call over at once, the server would send the next request, and
    calls that nobody waits for would pile up in the worker; and a worker that is stuck would not be seen to
    be.
    """

    async def run(self, function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
        """`Threads.run`."""
        watched = _Watched()
        try:
            return await super().run(watched.call, function, args, kwargs)
        except asyncio.CancelledError:
            await watched.over()
            raise


class _Watched:
    """One call of a function, and whether it is running."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._begun = False
        self._done = False
        self._waiter: asyncio.Future[None] | None = None

    def call(self, function: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _T:
        self._begun = True
        try:
            return function(*args, **kwargs)
        finally:
            self._done = True
            # Looked at after `_done` was set, while `over` looks at `_done` after it set this.
            if self._waiter is not None:
                self._loop.call_soon_threadsafe(self._wake, self._waiter)

    async def over(self) -> None:
        """Wait for the end of the function, if it has begun."""
        while self._begun and not self._done:
            self._waiter = waiter = self._loop.create_future()
            # Not before now: the thread looks for a waiter after it is done.
            if not self._ended():
                await asyncio.wait({waiter})

    def _ended(self) -> bool:
        return self._done

    @staticmethod
    def _wake(waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)
