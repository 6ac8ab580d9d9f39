"""Access log: a line for each request of a transport, written by a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading

from mlsrv.kernel_api import Access
from mlsrv.telemetry.request_logging import fields_of, printable

logger = logging.getLogger("mlsrv.access")

LIMIT = 10_000
"""Lines that may wait to be written; more are dropped, and counted."""

GATHER = 0.1
"""Seconds between two gusts of lines: to change threads for each one would cost far more than the line."""

LONGEST = 500
"""Characters of a request that are shown."""


class AccessLog:
    """Takes what transports note, and writes it while it is entered.

    Attributes:
        dropped: how many lines came faster than they could be written.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._said = 0
        self._waiting: queue.SimpleQueue[Access | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write, name="mlsrv-access-log", daemon=True)

    async def __aenter__(self) -> AccessLog:
        self._writer.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._waiting.put(None)
        await asyncio.to_thread(self._writer.join, 5.0)

    def note(self, access: Access) -> None:
        """Have a line written. Neither blocks nor raises; to be called on the event loop."""
        if not logger.isEnabledFor(access.level):
            return
        if self._waiting.qsize() >= LIMIT:
            self.dropped += 1
        else:
            self._waiting.put(access)

    def _write(self) -> None:
        while (access := self._waiting.get()) is not None:
            logger.handle(record_of(access))
            self._say_dropped()
            if self._waiting.empty():
                self._closing.wait(GATHER)

    def _say_dropped(self) -> None:
        dropped = self.dropped
        if dropped > self._said:
            count, self._said = dropped - self._said, dropped
            logger.warning("The access log dropped %d lines: they come faster than they are written", count)


def record_of(access: Access) -> logging.LogRecord:
    """Return the log record of one request, for the logger ``mlsrv.access``."""
    request, duration = printable(access.request, LONGEST), round(access.seconds * 1000, 3)
    arguments = (access.client or "-", request, access.status, duration)
    made = logging.getLogRecordFactory()(
        logger.name, access.level, __file__, 0, "%s %s %s %s ms", arguments, None
    )
    # Not as ``extra`` of `makeRecord`, which looks at each of these names first.
    made.__dict__.update(
        created=access.time,
        msecs=access.time % 1 * 1000,
        transport=access.transport,
        client=access.client,
        request=request,
        status=access.status,
        duration_ms=duration,
        **(fields_of(access.context) if access.context is not None else {}),
    )
    return made
