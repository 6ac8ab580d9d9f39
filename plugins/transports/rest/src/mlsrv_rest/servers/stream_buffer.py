"""Stream buffer: what waits to be sent on a stream of HTTP/2; it is held once, and its sender waits."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BufferCompleteError
from hypercorn.protocol.h2 import StreamBuffer as HypercornStreamBuffer


class StreamBuffer(HypercornStreamBuffer):
    """Hypercorn's buffer, but data is not copied into it, and who adds more than a little waits until the
    client has read it: Hypercorn's lets the sender go on whenever the client's window is full."""

    buffer: Any

    def __init__(self, event_class: Any) -> None:
        super().__init__(event_class)
        self.buffer = UnsentData()

    async def push(self, data: bytes) -> None:
        """Add data, and wait until little is left to be sent, or the stream is closed."""
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        while len(self.buffer) >= BUFFER_HIGH_WATER and not self._complete:
            await self._paused.clear()
            await self._paused.wait()

    async def pop(self, max_length: int) -> bytes:
        """Return the next bytes, at most `max_length` of them, and let who waits go on."""
        data = self.buffer.take(max_length)
        if len(self.buffer) < BUFFER_HIGH_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class UnsentData:
    """Pieces of data, in the order in which they are sent. They are kept, not copied."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def extend(self, data: bytes) -> None:
        """Add a piece at the end."""
        if data:
            self._pieces.append(memoryview(data))
            self._size += len(data)

    def take(self, count: int) -> bytes:
        """Return the first bytes, at most `count` of them, and drop them here."""
        taken = []
        missing = min(count, self._size)
        self._size -= missing
        while missing:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
            taken.append(piece[:missing])
            missing -= len(taken[-1])
        return b"".join(taken)
