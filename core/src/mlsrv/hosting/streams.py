"""Streams: adapters between asynchronous streams and synchronous code of models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, cast

from mlsrv_hosting_kit.threads import Threads
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

_END = object()


async def only(request: InferenceRequest) -> AsyncIterator[InferenceRequest]:
    """Yield one request: a stream of one."""
    yield request


async def then(
    first: InferenceRequest, rest: AsyncIterator[InferenceRequest]
) -> AsyncIterator[InferenceRequest]:
    """Yield the first request, which was taken already, and then the others of its stream."""
    yield first
    async for request in rest:
        yield request


class StreamRequests(AsyncIterator[InferenceRequest], Iterator[InferenceRequest]):
    """The requests of a stream as its model gets them: for ``async for``, and for a plain ``for`` in a
    thread.

    Attributes:
        first: the first request, whose id all responses of the stream carry; None until it was taken.
    """

    def __init__(self, requests: AsyncIterator[InferenceRequest]) -> None:
        self.first: InferenceRequest | None = None
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()

    async def __anext__(self) -> InferenceRequest:
        request = await anext(self._requests)
        if self.first is None:
            self.first = request
        return request

    def __next__(self) -> InferenceRequest:
        if threading.get_ident() == self._loop_thread:
            raise RuntimeError("on the event loop, take the requests of a stream with async for")
        found = asyncio.run_coroutine_threadsafe(self._next_or_end(), self._loop).result()
        if found is None:
            raise StopIteration
        return found

    async def _next_or_end(self) -> InferenceRequest | None:
        # A StopAsyncIteration would not get out of the coroutine in which it is raised.
        return await anext(self, None)


class ThreadedIterator(AsyncIterator[InferenceResponse]):
    """Iterates the result of a synchronous ``predict_stream`` in threads."""

    def __init__(self, responses: Iterable[InferenceResponse], threads: Threads) -> None:
        self._iterator = iter(responses)
        self._threads = threads
        self._running = threading.Lock()
        self._left = threading.Event()

    async def __anext__(self) -> InferenceResponse:
        found: Any = await self._threads.run(self._step)
        if found is _END:
            raise StopAsyncIteration
        return cast("InferenceResponse", found)

    async def aclose(self) -> None:
        """Close a generator, so that its ``finally`` runs. One that is still running is closed by its thread,
        as soon as it has made what it makes."""
        self._left.set()
        if not self._running.locked():
            await self._threads.run(self._close)

    def _step(self) -> Any:
        try:
            with self._running:
                return _END if self._left.is_set() else next(self._iterator, _END)
        finally:
            if self._left.is_set():
                self._close()

    def _close(self) -> None:
        close = getattr(self._iterator, "close", None)
        with self._running:
            if close is not None:
                close()
