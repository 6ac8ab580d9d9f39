"""Stream reader: reads the requests of streams until the client has sent the last one or the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator


class StreamReader:
    """Reads the requests of all streams. A server that stops can end idle streams that clients keep open.

    Attributes:
        closed: set once the server stops.
    """

    def __init__(self) -> None:
        self.closed = False
        self._waiting: set[asyncio.Task[object]] = set()

    async def read(self, requests: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Yield the requests of one stream, read in the current task."""
        task = asyncio.current_task()
        assert task is not None
        source = aiter(requests)
        while not self.closed:
            self._waiting.add(task)
            try:
                request = await anext(source)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if task in self._waiting or task.uncancel():
                    raise
                return
            finally:
                self._waiting.discard(task)
            yield request
            del request  # the next one may be long in coming

    def close(self) -> None:
        """End every stream as if its client had sent the last request. Idempotent."""
        self.closed = True
        waiting, self._waiting = self._waiting, set()
        for task in waiting:
            task.cancel()
