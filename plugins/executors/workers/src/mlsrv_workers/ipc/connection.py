"""One duplex connection, watched by the event loop; the same class at both ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv_workers.ipc.frames import HEADER, KINDS, PLACE, Frame, Kind, dump, head, padding
from mlsrv_workers.ipc.shared_memory import Arena, ArenaReader

logger = logging.getLogger("mlsrv.workers")

_NOTHING = dump(None)


class Connection(asyncio.Protocol):
    """Sends and receives frames.

    Args:
        on_frame: called for each frame, on the event loop.
        on_lost: called once, when the other end is gone.
        sending: descriptor of the arena for what is sent here.
        receiving: descriptor of the arena for what arrives here.
    """

    def __init__(
        self, on_frame: Callable[[Frame], None], on_lost: Callable[[], None], sending: int, receiving: int
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._arena = Arena(sending)
        self._reader = ArenaReader(receiving, self._give_back)
        self._pending = bytearray()
        self._released: deque[int] = deque()
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
        """Take over a connected socket."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(
            lambda: cls(on_frame, on_lost, sending, receiving), sock=sock
        )
        return connection

    @property
    def closed(self) -> bool:
        """Whether it has ended, and everything that arrived has been handed on."""
        return self._transport is None

    @property
    def arena_used(self) -> int:
        """Bytes of the sending arena that the other end still refers to."""
        return self._arena.used

    def send(
        self, kind: Kind, call: int = 0, body: bytes = _NOTHING, buffers: list[npt.NDArray[Any]] | None = None
    ) -> None:
        """Send one frame; `body` comes from `frames.dump`, arrays must be C-contiguous, and their list is
        emptied. After the other end is gone, this does nothing: `on_lost` settles every call."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not buffers:
            frame = head(kind, call, body, (), 0)
        else:
            places, inline = self._place(buffers)
            frame = b"".join((head(kind, call, body, places, sum(map(len, inline))), *inline))
        # Blocks are given back before what this frame brings: the other end can use them for its answer.
        transport.write(self._releases() + frame if self._released else frame)

    def send_threadsafe(self, kind: Kind, body: bytes) -> None:
        """Send a frame without buffers, from any thread, also after the loop has ended (then to nobody)."""
        self._soon(self.send, kind, 0, body)

    def release(self, offset: int) -> None:
        """The other end gave a block of the sending arena back."""
        self._arena.release(offset)

    def close(self) -> None:
        """Close this end once everything is sent; `on_lost` is called then."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close this end at once; `on_lost` is called soon."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclasses

    def data_received(self, data: bytes) -> None:
        received: bytes | bytearray = data
        if self._pending:
            self._pending += data
            received = self._pending
        start, length = 0, len(received)
        while start < length and (end := _end(received, start)) <= length:
            try:
                self._on_frame(self._frame(received, start, end))
            except Exception:  # one frame that goes wrong must not end the calls of all others
                logger.exception("A message between the server and a worker could not be handled")
            start = end
        if received is self._pending:
            del self._pending[:start]
        elif start < length:
            self._pending += data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        # At once, for errors of calls refer to this object for as long as somebody keeps them.
        self._arena.close()
        self._reader.close()
        self._on_lost()

    # --- inside ---------------------------------------------------------------------------------------------

    def _frame(self, received: bytes | bytearray, start: int, end: int) -> Frame:
        body, _, call, count, kind = HEADER.unpack_from(received, start)
        table = start + HEADER.size
        first = table + count * PLACE.size
        views: list[memoryview] = []
        if count:
            places = list(PLACE.iter_unpack(received[table:first]))
            with memoryview(received) as view:
                # A copy of its own, writable and not tied to what was received: user code may keep or change
                # it.
                owned = memoryview(bytearray(view[first + body : end]))
            views = self._views(places, owned)
        return Frame(KINDS[kind], call, received[first : first + body], views)

    def _place(self, buffers: list[npt.NDArray[Any]]) -> tuple[list[tuple[int, int]], list[bytes]]:
        """Copy arrays into the arena, and those for which it has no room into the stream; empties the
        list."""
        places: list[tuple[int, int]] = []
        inline: list[bytes] = []
        for array in buffers:
            data = array.reshape(-1).view(np.uint8)
            offset = self._arena.put(data)
            places.append((-1 if offset is None else offset, data.nbytes))
            if offset is None:
                inline.append(data.tobytes() + bytes(padding(data.nbytes)))
        buffers.clear()
        return places, inline

    def _views(self, places: list[tuple[int, int]], owned: memoryview) -> list[memoryview]:
        views: list[memoryview] = []
        position = 0
        for offset, length in places:
            if offset < 0:
                views.append(owned[position : position + length])
                position += length + padding(length)
            else:
                views.append(self._reader.view(offset, length))
        return views

    def _give_back(self, offset: int) -> None:
        # A garbage collection may run this in any thread. If there is a next frame soon, it takes this along.
        self._released.append(offset)
        self._soon(self._flush)

    def _flush(self) -> None:
        if self._released and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._releases())

    def _releases(self) -> bytes:
        frames: list[bytes] = []
        while self._released:
            frames.append(head(Kind.RELEASE, self._released.popleft(), _NOTHING, (), 0))
        return b"".join(frames)

    def _soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call something on the loop, from any thread."""
        try:
            if threading.get_ident() == self._thread:
                self._loop.call_soon(function, *arguments)
            else:
                self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return  # the loop is closed: there is nobody to tell


def _end(received: bytes | bytearray, start: int) -> int:
    """Where the frame ends that begins at `start`; behind all that was received if its header is not
    complete."""
    if len(received) - start < HEADER.size:
        return len(received) + 1
    body, inline, _, count, _ = HEADER.unpack_from(received, start)
    return start + HEADER.size + count * PLACE.size + int(body) + int(inline)
