"""Connection: duplex frames over a socket and shared memory; the same class at both ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv_executor_kit.plain_values import dump
from mlsrv_workers.ipc.frames import (
    BUFFER_LOCATION,
    FRAME_KINDS,
    HEADER,
    Frame,
    FrameKind,
    pack_header,
    padding,
)
from mlsrv_workers.ipc.shared_memory import SharedMemoryReader, SharedMemoryWriter

logger = logging.getLogger("mlsrv.workers")

TRIM_INTERVAL = 10.0
"""Seconds for which shared memory that no block needs any more is kept for the next ones."""

_NONE = dump(None)
_MOST_SECONDS = 0.001
"""Seconds for which a frame waits at most while others of the same turn are made."""


class Connection(asyncio.Protocol):
    """Sends and receives frames.

    Args:
        on_frame: called for each frame, on the event loop.
        on_lost: called once, when the connection has ended.
        sending: descriptor of the shared memory for frames that are sent.
        receiving: descriptor of the shared memory for frames that are received.
        sock: the socket beneath, which is written to where the event loop has nothing left to write. Its own
            writes wait for the end of the turn.
    """

    def __init__(
        self,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[], None],
        sending: int,
        receiving: int,
        sock: socket.socket,
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._writer = SharedMemoryWriter(sending)
        self._reader = SharedMemoryReader(receiving, self._on_released)
        self._received = bytearray()
        self._released: deque[int] = deque()
        self._trimming: asyncio.TimerHandle | None = None
        self._waiting: list[bytes] = []
        self._waiting_since = 0.0
        self._sent = 0  # frames in this turn of the event loop
        self._is_alone = True  # whether the last turn with frames had but one
        self._socket = sock
        self._thread = threading.get_ident()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[], None],
        sending: int,
        receiving: int,
    ) -> Connection:
        """Create a connection from a connected socket."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(
            lambda: cls(on_frame, on_lost, sending, receiving, sock), sock=sock
        )
        return connection

    @property
    def closed(self) -> bool:
        """True once the connection has ended and every received frame has been handled."""
        return self._transport is None

    @property
    def shared_memory_used(self) -> int:
        """Bytes of the sending shared memory that the other end still refers to."""
        return self._writer.used

    def send(
        self,
        kind: FrameKind,
        call: int = 0,
        body: bytes = _NONE,
        buffers: list[npt.NDArray[Any]] | None = None,
    ) -> None:
        """Send one frame, together with the others that are sent in this turn of the event loop.

        The first one of a turn is written at once if those of the last turns were alone.

        After the connection has ended this does nothing, because `on_lost` settles every call.

        Args:
            kind: meaning of the frame.
            call: id of the call, or 0.
            body: the payload, from `mlsrv_executor_kit.plain_values`: of `dump` for a worker, else of others.
            buffers: C-contiguous arrays; the list is emptied.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not buffers:
            frame = pack_header(kind, call, body, (), 0)
        else:
            locations, inline = self._place_buffers(buffers)
            frame = b"".join((pack_header(kind, call, body, locations, sum(map(len, inline))), *inline))
        self._waiting.append(frame)
        self._sent += 1
        if self._sent == 1:
            self._waiting_since = monotonic()
            self._loop.call_soon(self._end_turn)
            if self._is_alone:
                self._flush()
        elif (now := monotonic()) - self._waiting_since > _MOST_SECONDS:
            self._waiting_since = now
            self._flush()

    def send_threadsafe(self, kind: FrameKind, body: bytes) -> None:
        """Send a frame without buffers from any thread; dropped once the event loop is closed."""
        self._call_soon(self.send, kind, 0, body)

    def release(self, offset: int) -> None:
        """Free a block of the sending shared memory that the other end has released."""
        self._writer.release(offset)

    def close(self) -> None:
        """Close this end once everything is sent; `on_lost` is called then."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close this end at once; `on_lost` is called soon after."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclasses

    def data_received(self, data: bytes) -> None:
        received: bytes | bytearray = data
        if self._received:
            self._received += data
            received = self._received
        start, length = 0, len(received)
        while start < length and (end := _frame_end(received, start)) <= length:
            try:
                self._on_frame(self._parse_frame(received, start, end))
            except Exception:  # a failure in one frame must not end all other calls
                logger.exception("A message between the server and a worker could not be handled")
            start = end
        if received is self._received:
            del self._received[:start]
        elif start < length:
            self._received += data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._trimming is not None:
            self._trimming.cancel()
        # Now, because errors of calls may keep this object alive.
        self._writer.close()
        self._reader.close()
        self._on_lost()

    # --- inside ---------------------------------------------------------------------------------------------

    def _parse_frame(self, received: bytes | bytearray, start: int, end: int) -> Frame:
        body, _, call, count, kind = HEADER.unpack_from(received, start)
        table = start + HEADER.size
        body_start = table + count * BUFFER_LOCATION.size
        views: list[memoryview] = []
        if count:
            locations = list(BUFFER_LOCATION.iter_unpack(received[table:body_start]))
            with memoryview(received) as view:
                # A writable copy that is independent of the received bytes: user code may keep or change it.
                owned = memoryview(bytearray(view[body_start + body : end]))
            views = self._make_views(locations, owned)
        return Frame(FRAME_KINDS[kind], call, received[body_start : body_start + body], views)

    def _place_buffers(self, buffers: list[npt.NDArray[Any]]) -> tuple[list[tuple[int, int]], list[bytes]]:
        """Copy arrays into shared memory, and into the stream where there is no room; empties the list."""
        locations: list[tuple[int, int]] = []
        inline: list[bytes] = []
        for array in buffers:
            data = array.reshape(-1).view(np.uint8)
            offset = self._writer.put(data)
            locations.append((-1 if offset is None else offset, data.nbytes))
            if offset is None:
                inline.append(data.tobytes() + bytes(padding(data.nbytes)))
        buffers.clear()
        if self._trimming is None:
            self._trimming = self._loop.call_later(TRIM_INTERVAL, self._trim)
        return locations, inline

    def _trim(self) -> None:
        more = self._writer.trim()
        self._trimming = self._loop.call_later(TRIM_INTERVAL, self._trim) if more else None

    def _make_views(self, locations: list[tuple[int, int]], owned: memoryview) -> list[memoryview]:
        views: list[memoryview] = []
        position = 0
        for offset, length in locations:
            if offset < 0:
                views.append(owned[position : position + length])
                position += length + padding(length)
            else:
                views.append(self._reader.view(offset, length))
        return views

    def _on_released(self, offset: int) -> None:
        # A garbage collection may run this in any thread. A frame that is sent before `_flush` carries it.
        self._released.append(offset)
        self._call_soon(self._flush)

    def _end_turn(self) -> None:
        self._is_alone, self._sent = self._sent == 1, 0
        self._flush()

    def _flush(self) -> None:
        if not self._waiting and not self._released:
            return
        waiting, self._waiting = self._waiting, []
        if self._transport is not None and not self._transport.is_closing():
            if self._released or len(waiting) > 1:
                # Releases come before the frames, so that the other end can use the blocks for its answers.
                waiting = [b"".join((self._pack_releases(), *waiting))]
            self._write(self._transport, waiting[0])

    def _write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write what the system takes now; the event loop writes the rest, and finds what is wrong."""
        if not transport.get_write_buffer_size():
            try:
                data = data[self._socket.send(data) :]
            except OSError:
                pass  # it takes nothing now, or has ended
        if data:
            transport.write(data)

    def _pack_releases(self) -> bytes:
        frames: list[bytes] = []
        while self._released:
            frames.append(pack_header(FrameKind.RELEASE, self._released.popleft(), _NONE, (), 0))
        return b"".join(frames)

    def _call_soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function on the event loop, from any thread."""
        try:
            if threading.get_ident() == self._thread:
                self._loop.call_soon(function, *arguments)
            else:
                self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return  # the loop is closed, and the connection with it


def _frame_end(received: bytes | bytearray, start: int) -> int:
    """Return the end of the frame that begins at `start`.

    If its header is incomplete, the result lies after all received bytes.
    """
    if len(received) - start < HEADER.size:
        return len(received) + 1
    body, inline, _, count, _ = HEADER.unpack_from(received, start)
    return start + HEADER.size + count * BUFFER_LOCATION.size + int(body) + int(inline)
