"""Joining threads: threads that wait for a running function when its call is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from mlsrv.threads import Threads

__all__ = ["JoiningThreads"]

_T = TypeVar("_T")


class JoiningThreads(Threads):
    """Threads whose cancelled calls end when the function has ended, not before.

    A function cannot be interrupted. If its call ended at once, the server would send the next request,
    abandoned functions would pile up in the process, and a stuck one would not be noticed.
    """

    async def run(self, function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
        """Run a function as `Threads.run` does; a cancelled call waits until a running function ends."""
        call = _JoinableCall()
        try:
            return await super().run(call.call, function, args, kwargs)
        except asyncio.CancelledError:
            await call.join()
            raise


class _JoinableCall:
    """One call of a function, whose end can be awaited."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = False
        self._done = False
        self._waiter: asyncio.Future[None] | None = None

    def call(self, function: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _T:
        self._started = True
        try:
            return function(*args, **kwargs)
        finally:
            self._done = True
            # Read after `_done` is set, while `join` reads `_done` after it has set `_waiter`.
            if self._waiter is not None:
                self._loop.call_soon_threadsafe(self._wake, self._waiter)

    async def join(self) -> None:
        """Wait for the end of the function, if it has begun."""
        while self._started and not self._done:
            self._waiter = waiter = self._loop.create_future()
            # Checked again now: the thread reads `_waiter` only after it has set `_done`.
            if not self._ended():
                await asyncio.wait({waiter})

    def _ended(self) -> bool:
        return self._done

    @staticmethod
    def _wake(waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)
