"""The access log: a line for each request of a transport, written by a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time

from attrs import define, field

from mlsrv.context import CallContext
from mlsrv.telemetry.request_logging import fields_of, shown

logger = logging.getLogger("mlsrv.access")

LIMIT = 10_000
"""Lines that may wait to be written; more are dropped, and counted."""

GATHER = 0.1
"""Seconds between two gusts of lines: to change threads for each one would cost far more than the line."""

LONGEST = 500
"""Characters of a request that are shown."""


@define(eq=False)
class Access:
    """One request that was answered.

    Attributes:
        transport: its name.
        request: what was asked, for example ``"GET /v2"``.
        status: as the transport names it.
        seconds: from its arrival to the end of its answer.
        client: the address that it came from.
        context: of the request, if it was to a model.
        quiet: whether it is a health check, which is logged on debug level.
        time: of its end, in seconds since the epoch.
    """

    transport: str
    request: str
    status: int | str
    seconds: float
    client: str = ""
    context: CallContext | None = None
    quiet: bool = False
    time: float = field(factory=time.time)

    @property
    def level(self) -> int:
        return logging.DEBUG if self.quiet else logging.INFO

    def record(self, *, more: bool = False) -> logging.LogRecord:
        """The line as the logger ``mlsrv.access`` writes it.

        Its attribute ``more`` says that others follow at once: a handler may then write them together.
        """
        request, duration = shown(self.request[:LONGEST]), round(self.seconds * 1000, 3)
        arguments = (self.client or "-", request, self.status, duration)
        made = logging.getLogRecordFactory()(
            logger.name, self.level, __file__, 0, "%s %s %s %s ms", arguments, None
        )
        # Not as ``extra`` of `makeRecord`, which looks at each of these names first.
        made.__dict__.update(
            created=self.time,
            msecs=self.time % 1 * 1000,
            transport=self.transport,
            client=self.client,
            request=request,
            status=self.status,
            duration_ms=duration,
            more=more,
            **(fields_of(self.context) if self.context is not None else {}),
        )
        return made


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
            # Not at the end: the last in the queue is no line.
            more = not self._waiting.empty() and not self._closing.is_set()
            logger.handle(access.record(more=more))
            self._say_dropped()
            if self._waiting.empty():
                self._closing.wait(GATHER)

    def _say_dropped(self) -> None:
        dropped = self.dropped
        if dropped > self._said:
            count, self._said = dropped - self._said, dropped
            logger.warning("The access log dropped %d lines: they come faster than they are written", count)
