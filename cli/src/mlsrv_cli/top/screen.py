"""Live screen: reads the server repeatedly, and reacts to keys."""

from __future__ import annotations

import os
import queue
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from attrs import define
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from mlsrv.errors import MLSrvError
from mlsrv_cli.top.rows import Reading, compare
from mlsrv_cli.top.sample import Sample, Source
from mlsrv_cli.top.view import SORTS, draw

_LOOK = 0.1
"""Seconds between two looks at keyboard and server."""
_SORT_KEYS = {name[0]: name for name in SORTS}
_KEYS = "q quits; sort by n name, r rate, l latency, e errors"


@define
class _State:
    """The state of the screen.

    Attributes:
        last: the latest sample.
        reading: what happened up to it.
        trouble: why there is no newer one, or empty.
        sort: a key of `SORTS`.
    """

    last: Sample | None = None
    reading: Reading | None = None
    trouble: str = ""
    sort: str = "name"

    def take(self, news: Sample | str) -> None:
        if isinstance(news, str):
            self.trouble = news
        else:
            self.reading, self.last, self.trouble = compare(self.last, news), news, ""


def watch(source: Source, interval: float, console: Console) -> None:
    """Show a server until q or ctrl-C is pressed."""
    news: queue.SimpleQueue[Sample | str] = queue.SimpleQueue()
    # Ends with the process: a server that hangs must not keep its user waiting.
    threading.Thread(target=_read, args=(source, interval, news), daemon=True).start()
    state = _State()
    try:
        with _terminated(), _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                while not news.empty():
                    state.take(news.get())
                live.update(_drawn(state, source, console), refresh=True)
                key = _pressed(min(interval, _LOOK))
                if key == "q":
                    return
                state.sort = _SORT_KEYS.get(key, state.sort)
    except KeyboardInterrupt:
        return


def _read(source: Source, interval: float, news: queue.SimpleQueue[Sample | str]) -> None:
    while True:
        due = time.monotonic() + interval
        try:
            news.put(source.read())
        except MLSrvError as error:
            news.put(str(error))
        except Exception as error:  # another kind of server may answer anything
            news.put(f"{source.url} does not answer as a server of models does ({type(error).__name__}).")
        time.sleep(max(0.0, due - time.monotonic()))


def _drawn(state: _State, source: Source, console: Console) -> RenderableType:
    keys = Text(_KEYS, style="dim", no_wrap=True, overflow="ellipsis")
    if state.reading is None:
        return Group(Text(state.trouble or f"Asking {source.url} …"), keys)
    width, height = console.size
    view = draw(state.reading, source.url, width=width, height=height, sort=state.sort, trouble=state.trouble)
    return Group(view, keys)


@contextmanager
def _keys() -> Iterator[None]:
    """Deliver pressed keys at once, without echoing them."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


@contextmanager
def _terminated() -> Iterator[None]:
    """Exit by an exception on SIGTERM and SIGHUP, so that the terminal is restored."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pressed(seconds: float) -> str:
    """Return the key that is pressed within a time, or ""; "q" once there is no keyboard."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    if not ready:
        return ""
    keys = os.read(sys.stdin.fileno(), 1024).decode(errors="ignore")
    if not keys or "q" in keys:
        return "q"
    return "" if keys.startswith("\x1b") else keys[-1]  # special keys send several characters
