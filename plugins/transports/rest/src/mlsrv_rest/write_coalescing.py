"""Write coalescing: one system call and one packet for the head and the body of a response."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

if sys.platform != "win32":
    import fcntl
    import termios

_HEAD = b"HTTP/1.1 "
_COPY_LIMIT = 2**16
"""Bytes up to which copying is cheaper than another system call."""


class CoalescingWriter:
    """Wraps a transport or a stream writer, and holds the head of an HTTP/1.1 response back until the next
    write. In most cases that comes at once; otherwise the head is written in the next turn of the event loop.

    Attributes:
        target: the transport or writer; everything but writing and closing is delegated to it.
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self._loop = asyncio.get_running_loop()
        self._write = target.write
        self._head = b""
        self._written = 0
        self.is_closing = target.is_closing

    def write(self, data: bytes) -> None:
        """Write `data`, or hold it back if it is the head of a response."""
        self._written += len(data)
        head = self._head
        if head:
            self._head = b""
            if len(data) <= _COPY_LIMIT:
                data = head + data
            else:
                self._write(head)
        elif data[:9] == _HEAD:
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._write(data)

    def write_whole(self, head: bytes, body: bytes) -> None:
        """Write a whole response."""
        self._flush()
        self._written += len(head) + len(body)
        if len(body) <= _COPY_LIMIT:
            self._write(head + body)
        else:
            self._write(head)
            self._write(body)

    def sent_bytes(self) -> int | None:
        """Return how many bytes the client has received, or None if none wait to be sent."""
        transport = getattr(self.target, "transport", self.target)
        waiting: int = transport.get_write_buffer_size()
        if not waiting:
            return None
        return self._written - waiting - _unacknowledged(self.target.get_extra_info("socket"))

    def write_eof(self) -> None:
        """Flush the head, then close the write end of the target."""
        self._flush()
        self.target.write_eof()

    def close(self) -> None:
        """Flush the head, then close the target."""
        self._flush()
        self.target.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            if not self.is_closing():
                self._write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


def _unacknowledged(connection: Any) -> int:
    """Return how many bytes the system holds for a client that reads slowly; 0 where it does not tell."""
    if sys.platform == "win32":
        return 0
    try:
        found = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(found, sys.byteorder)
