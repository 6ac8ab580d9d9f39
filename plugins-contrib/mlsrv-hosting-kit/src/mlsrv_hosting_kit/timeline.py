"""Timeline: the phases of one request, for interceptors that observe.

Without an observing interceptor nothing is measured: ``context.timeline`` is None. An interceptor whose class
says ``observes = True`` finds a `Timeline` there, filled when ``call_next`` has returned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextvars import ContextVar
from time import monotonic_ns
from typing import Any, TypeAlias, TypeVar

__all__ = ["MOST_SPANS", "Span", "Spans", "Stopwatch", "Timeline", "current_stopwatch", "timed"]

_T = TypeVar("_T")

MOST_SPANS = 64
"""Spans that a timeline keeps one by one; of further ones, as a long stream has, only the sums."""

Span: TypeAlias = tuple[str, int, int]
"""Phase, begin and end, in nanoseconds of `time.monotonic_ns`, which all processes of a machine share."""

Spans: TypeAlias = tuple[list[Span], dict[str, int]]
"""The contents of a timeline as plain data."""


class Timeline:
    """The phases of one request, each with its begin and end.

    ``queue`` is waiting for a thread or a free worker, ``batch`` waiting for others to be joined with,
    ``decode`` and ``encode`` the work of codecs. ``predict`` is a whole call of user code, with the decoding
    and encoding that it does. A phase may occur several times. Plugins may add phases of their own.

    Attributes:
        spans: the first `MOST_SPANS`, in the order in which they ended.
        sums: nanoseconds by phase of what did not fit.
    """

    __slots__ = ("spans", "sums")

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.sums: dict[str, int] = {}

    def add(self, phase: str, begin: int, end: int) -> None:
        """Add a phase that took place, from any thread."""
        if len(self.spans) < MOST_SPANS:
            self.spans.append((phase, begin, end))
        else:
            self.sums[phase] = self.sums.get(phase, 0) + end - begin

    def extend(self, spans: Collection[Span], sums: dict[str, int]) -> None:
        """Add the contents of another timeline."""
        if len(self.spans) + len(spans) <= MOST_SPANS:
            self.spans += [(phase, begin, end) for phase, begin, end in spans]
        else:
            for span in spans:
                self.add(*span)
        for phase, ns in sums.items():
            self.sums[phase] = self.sums.get(phase, 0) + ns

    def plain(self) -> Spans:
        """Return the spans and the sums, to be sent to another process."""
        return self.spans, self.sums

    def durations(self) -> dict[str, int]:
        """Return nanoseconds by phase; ``predict`` is without the time of decoding and encoding."""
        if len(self.spans) == 1:
            phase, begin, end = self.spans[0]
            return {phase: end - begin}
        found = dict(self.sums)
        for phase, begin, end in self.spans:
            found[phase] = found.get(phase, 0) + end - begin
        if "predict" in found:
            codecs = found.get("decode", 0) + found.get("encode", 0)
            found["predict"] = max(0, found["predict"] - codecs)
        return found


class Stopwatch:
    """Times one call of user code; made where the call begins."""

    __slots__ = ("_began", "busy", "timeline")

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.busy = False
        self._began = monotonic_ns()

    def lap(self, phase: str) -> None:
        """Add a phase that lasted from the beginning, or from the last lap, until now."""
        now = monotonic_ns()
        self.timeline.add(phase, self._began, now)
        self._began = now

    def stop(self) -> None:
        """Add the phase ``predict``, at the end of the user code. A second call has no effect."""
        if self._began:
            self.timeline.add("predict", self._began, monotonic_ns())
            self._began = 0


current_stopwatch: ContextVar[Stopwatch | None] = ContextVar("mlsrv_stopwatch", default=None)
"""Times the user code that is running; None if its request is not observed."""


def timed(phase: str, function: Callable[..., _T], /, *args: Any) -> _T:
    """Call a function, and note its duration if the request is observed.

    Timed calls inside it are not counted again.
    """
    stopwatch = current_stopwatch.get()
    if stopwatch is None or stopwatch.busy:
        return function(*args)
    stopwatch.busy = True
    begin = monotonic_ns()
    try:
        return function(*args)
    finally:
        stopwatch.timeline.add(phase, begin, monotonic_ns())
        stopwatch.busy = False
