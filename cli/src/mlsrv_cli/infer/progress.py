"""Progress: a line on the terminal while records are sent, and one sentence at the end."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from mlsrv_protocol.errors import MLSrvError


class Progress:
    """Counts answers; draws on stderr where that is a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.answered = 0
        self.failed = 0
        self._began = time.monotonic()
        self._retry = ""
        self._status: Status | None = None
        if sys.stderr.isatty() and not quiet:
            self._status = Console(stderr=True, highlight=False).status("0 answered")

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def count(self, *, failed: bool) -> None:
        """Count one answer."""
        self.answered += not failed
        self.failed += failed
        self._retry = ""
        self._draw()

    def retried(self, error: MLSrvError) -> None:
        """Show that a request is sent again."""
        self._retry = f", tries again: {error}"
        self._draw()

    def summary(self) -> str:
        """Return what was done, as one sentence."""
        seconds = time.monotonic() - self._began
        rate = (self.answered + self.failed) / max(seconds, 1e-9)
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.answered} answered{failed} in {seconds:.1f} s ({rate:.0f}/s)"

    def _draw(self) -> None:
        if self._status is not None:
            from rich.markup import escape

            self._status.update(escape(self.summary() + self._retry))
