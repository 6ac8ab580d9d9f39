"""Log output: descriptors to which a thread writes, and the streams and handlers that write to them."""

from __future__ import annotations

import io
import logging
import os
import select
from collections.abc import Callable

CHUNK = 2**16
"""Bytes of one system call."""


class Output:
    """Writes to a descriptor what was gathered for it.

    Args:
        descriptor: it stays open.
        name: how messages call it, for example ``"stdout"``.
        progress: called after each system call that wrote something.
    """

    def __init__(self, descriptor: int, name: str, progress: Callable[[], None]) -> None:
        self.descriptor = descriptor
        self.name = name
        self._progress = progress
        self._gathered: list[bytes] = []

    def add(self, data: bytes) -> None:
        """Keep data for the next `flush`."""
        self._gathered.append(data)

    def flush(self) -> None:
        """Write what was kept.

        Raises:
            OSError: it cannot be written, and is lost.
        """
        data, self._gathered = memoryview(b"".join(self._gathered)), []
        while data:
            try:
                data = data[os.write(self.descriptor, data[:CHUNK]) :]
            except BlockingIOError:  # another process that shares the pipe may have made it non-blocking
                select.select([], [self.descriptor], [])
            else:
                self._progress()


class OutputHandler(logging.Handler):
    """Adds each record as a line to an `Output`; `flush` writes them."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.add(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:  # a formatter or the values of a record may raise anything
            self.handleError(record)

    def flush(self) -> None:
        self._output.flush()


class Printed(io.RawIOBase):
    """Binary stream to which models print: hands the bytes on, and is a stand-in for a descriptor."""

    def __init__(self, descriptor: int, put: Callable[[bytes], None]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._put = put

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer
        self._put(bytes(data))
        return len(data)

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)
