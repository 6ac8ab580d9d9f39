"""Writes the head of an answer together with what follows: one system call and one packet instead of two."""

from __future__ import annotations

import asyncio
from typing import Any

_HEAD = b"HTTP/1.1 "
_COPIED = 2**16
"""Bytes up to which copying is cheaper than another system call."""


class Joined:
    """Stands for a transport or a stream writer, and holds the head of an HTTP/1.1 answer back until the next
    write. That comes at once in most cases; otherwise the head leaves with the next turn of the event loop.

    Args:
        target: the transport or writer; everything but writing and closing is its own.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._write = target.write
        self._head = b""
        self.is_closing = target.is_closing

    def write(self, data: bytes) -> None:
        """As the target's."""
        head = self._head
        if head:
            self._head = b""
            if len(data) <= _COPIED:
                data = head + data
            else:
                self._write(head)
        elif data[:9] == _HEAD:
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._write(data)

    def write_eof(self) -> None:
        """As the target's."""
        self._flush()
        self._target.write_eof()

    def close(self) -> None:
        """As the target's."""
        self._flush()
        self._target.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            if not self.is_closing():
                self._write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)
