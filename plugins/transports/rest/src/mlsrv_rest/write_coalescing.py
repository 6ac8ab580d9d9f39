"""Write coalescing: one system call and one packet for the head and the body of a response."""

from __future__ import annotations

import asyncio
from typing import Any

_HEAD = b"HTTP/1.1 "
_COPY_LIMIT = 2**16
"""Bytes up to which copying is cheaper than another system call."""


class CoalescingWriter:
    """Wraps a transport or a stream writer, and holds the head of an HTTP/1.1 response back until the next
    write. In most cases that comes at once; otherwise the head is written in the next turn of the event loop.

    Args:
        target: the transport or writer; everything but writing and closing is delegated to it.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._write = target.write
        self._head = b""
        self.is_closing = target.is_closing

    def write(self, data: bytes) -> None:
        """Write `data`, or hold it back if it is the head of a response."""
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

    def write_eof(self) -> None:
        """Flush the head, then close the write end of the target."""
        self._flush()
        self._target.write_eof()

    def close(self) -> None:
        """Flush the head, then close the target."""
        self._flush()
        self._target.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            if not self.is_closing():
                self._write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)
