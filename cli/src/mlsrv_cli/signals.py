"""Signals: handled from the first moment of ``mlsrv start`` to its last, whatever the main thread does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGQUIT") if hasattr(signal, name)
)
ACTION_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""Signals that never end the process: they ask for an action of `StopSignals.actions`, or for nothing."""

STOP_MARGIN = 15.0
"""Seconds beyond ``shutdown_timeout`` after which a stop that does not end is ended by force."""

FLUSH_SECONDS = 0.5


class StopSignals:
    """Handles signals: the first asks for a graceful stop, the second ends the process at once.

    A thread reads the signals from the descriptor that Python writes their numbers to
    (`signal.set_wakeup_fd`), so it sees them whatever the main thread does. The handlers are there as well,
    as code in this process may take the descriptor over.

    Attributes:
        requested: whether a stop was requested.
        actions: what signals of `ACTION_SIGNALS` do, by number; called in a thread.
        budget: seconds that a stop may take.
    """

    def __init__(self) -> None:
        self.requested = False
        self.actions: dict[int, Callable[[], None]] = {}
        self.budget = STOP_MARGIN
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._forward = -1
        self._read: Counter[int] = Counter()
        self._handled: Counter[int] = Counter()
        self._noticed: Counter[int] = Counter()
        self._terminal = False

    def install(self) -> None:
        """Install the handlers. Call this in the main thread."""
        hangup = getattr(signal, "SIGHUP", None)
        self._terminal = hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL and _has_terminal()
        for number in (*STOP_SIGNALS, *ACTION_SIGNALS):
            signal.signal(number, self._received)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="mlsrv-signals", daemon=True).start()

    def attach(self) -> None:
        """Keep reading the signals while an event loop runs. Call this on the loop, in the main thread."""
        before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._forward = before if before != self._writing else -1

    def detach(self) -> None:
        """Give the descriptor back to the loop, which is about to end."""
        forward, self._forward = self._forward, -1
        if forward != -1:
            signal.set_wakeup_fd(forward, warn_on_full_buffer=False)

    async def wait(self) -> None:
        """Return once a stop has been requested; at once if it already was."""
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if not self.requested:
            await self._event.wait()
        self._loop = None

    def _received(self, number: int, _frame: FrameType | None) -> None:
        # The thread does the work: a handler may have interrupted code that holds any lock.
        self._handled[number] += 1
        try:
            os.write(self._writing, b"\0")
        except BlockingIOError:
            return  # the pipe is full, so the thread has enough to wake for

    def _watch(self) -> None:
        while True:
            for number in os.read(self._reading, 4096):
                if number:
                    self._read[number] += 1
                    self._pass_on(number)
            # A signal is seen here, by its handler, or (most often) by both.
            for number in (*STOP_SIGNALS, *ACTION_SIGNALS):
                while max(self._read[number], self._handled[number]) > self._noticed[number]:
                    self._noticed[number] += 1
                    self._notice(number)

    def _pass_on(self, number: int) -> None:
        forward = self._forward
        if forward != -1:
            try:
                os.write(forward, bytes([number]))
            except OSError:  # the loop has closed it, or has not read for long
                self._forward = -1

    def _notice(self, number: int) -> None:
        if number in ACTION_SIGNALS and not self._hung_up(number):
            action = self.actions.get(number)
            if action is not None:
                action()
            return
        if self.requested:
            end(128 + number, wait=0.0)
        self.request()

    def request(self) -> None:
        """Ask for a graceful stop, as the first signal does; again it does nothing."""
        if self.requested:
            return
        self.requested = True
        threading.Thread(target=self._end_in_time, name="mlsrv-stop", daemon=True).start()
        loop, event = self._loop, self._event
        if loop is not None and event is not None:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                return  # the loop has ended, as it was asked to

    def _hung_up(self, number: int) -> bool:
        """Return whether the signal says that the terminal of this process is gone."""
        return self._terminal and number == getattr(signal, "SIGHUP", None) and not _has_terminal()

    def _end_in_time(self) -> None:
        began = time.monotonic()
        while (rest := began + self.budget - time.monotonic()) > 0:
            time.sleep(min(rest, 0.5))
        tell = f"Error: The stop took longer than {self.budget:g} s and was ended by force.\n"
        end(1, wait=FLUSH_SECONDS, tell=tell)


def end(code: int, *, wait: float, tell: str = "") -> None:
    """End the process now, whatever its threads do, after up to `wait` seconds for output to be written."""

    def write() -> None:
        try:
            if tell:
                os.write(2, tell.encode())
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return  # the output may be closed already

    if wait:
        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        writing.join(wait)
    os._exit(code)


def exit_within(seconds: float, code: int) -> None:
    """End the process with this code after that time, unless it ends by itself earlier.

    User code that is stuck in a thread would otherwise keep the interpreter waiting for ever.
    """
    timer = threading.Timer(seconds, lambda: end(code, wait=FLUSH_SECONDS))
    timer.daemon = True
    timer.start()


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
