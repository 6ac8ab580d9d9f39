"""One duplex connection, watched by the event loop; the same class at both ends."""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mlsrv_workers.arena import Arena, ArenaReader
from mlsrv_workers.frames import ARENA_THRESHOLD, HEADER, Frame, Kind, pack


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
        self._reader = ArenaReader(receiving, self._released)
        self._pending = bytearray()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._writable = asyncio.Event()
        self._writable.set()

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
    def arena_used(self) -> int:
        """Bytes of the sending arena that the other end still refers to."""
        return self._arena.used

    def send(
        self, kind: Kind, call: int = 0, payload: Any = None, buffers: Sequence[npt.NDArray[Any]] = ()
    ) -> None:
        """Send one frame; arrays must be C-contiguous. After the other end is gone, this does nothing: `on_lost`
        settles every call."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        places: list[tuple[int, int]] = []
        inline: list[memoryview] = []
        size = 0
        for array in buffers:
            data = array.reshape(-1).view(np.uint8)
            offset = self._arena.put(data) if data.nbytes >= ARENA_THRESHOLD else None
            if offset is None:
                inline.append(data.data)
                size += data.nbytes
            places.append((-1 if offset is None else offset, data.nbytes))
        head = pack(kind, call, payload, places, size)
        transport.write(b"".join((head, *inline)) if inline else head)

    def send_threadsafe(self, kind: Kind, payload: Any) -> None:
        """Send a frame without buffers, from any thread, also after the loop has ended (then to nobody)."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.send, kind, 0, payload)

    async def drained(self) -> None:
        """Wait until what was sent is on its way, as far as the transport's buffer limit asks for it."""
        await self._writable.wait()

    def close(self) -> None:
        """Close this end; `on_lost` is called soon."""
        if self._transport is not None:
            self._transport.close()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream socket has such a transport; those of uvloop do not descend from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        pending = self._pending
        pending += data
        start = 0
        while len(pending) - start >= HEADER.size:
            body, inline, call, kind = HEADER.unpack_from(pending, start)
            end = start + HEADER.size + body + inline
            if len(pending) < end:
                break
            middle = start + HEADER.size + body
            with memoryview(pending) as view:
                payload, places = pickle.loads(view[start + HEADER.size : middle])
                # A copy of its own, writable and not tied to the receive buffer: user code may keep or change it.
                owned = memoryview(bytearray(view[middle:end])) if inline else memoryview(b"")
            start = end
            self._on_frame(Frame(Kind(kind), call, payload, self._views(places, owned)))
        del pending[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._on_lost()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- inside -------------------------------------------------------------------------------------------------

    def _views(self, places: list[tuple[int, int]], owned: memoryview) -> list[memoryview]:
        views: list[memoryview] = []
        position = 0
        for offset, length in places:
            if offset < 0:
                views.append(owned[position : position + length])
                position += length
            else:
                views.append(self._reader.view(offset, length))
        return views

    def _released(self, offset: int) -> None:
        # A garbage collection may run this in any thread, and after the loop has been closed.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.send, Kind.RELEASE, offset)

    def release(self, offset: int) -> None:
        """The other end gave a block of the sending arena back."""
        self._arena.release(offset)
