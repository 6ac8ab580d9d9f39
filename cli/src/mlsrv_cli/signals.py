"""Stop signals: handled from the first moment of ``mlsrv start`` to its last."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from types import FrameType

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGQUIT") if hasattr(signal, name)
)


class StopSignals:
    """Handles signals: the first asks for a graceful stop, the second ends the process at once.

    The handlers are plain ones, not those of an event loop, because they must work while modules are
    imported, before there is a loop, and after it has been closed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    def install(self) -> None:
        """Install the handlers. Call this in the main thread."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._received)

    async def wait(self) -> None:
        """Return once a stop has been requested; at once if it already was."""
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if not self.requested:
            await self._event.wait()
        self._loop = None

    def _received(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            os._exit(128 + number)
        self.requested = True
        if self._loop is not None and self._event is not None:
            self._loop.call_soon_threadsafe(self._event.set)


def exit_within(seconds: float, code: int) -> None:
    """End the process with this code after that time, unless it ends by itself earlier.

    User code that is stuck in a thread would otherwise keep the interpreter waiting for ever.
    """

    def end() -> None:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # the output may be closed already
            os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
