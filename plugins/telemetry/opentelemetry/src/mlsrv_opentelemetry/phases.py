"""Phase spans: made from a timeline after a request has ended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Set
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, Tracer, set_span_in_context

from mlsrv import timeline

_NAMES: Final = {"batch": "batch wait"}


class Clock:
    """Converts values of `time.monotonic_ns` to nanoseconds since the epoch, with the offset at its
    creation."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def epoch(self, moment: int) -> int:
        return moment + self._offset


def add_phases(
    tracer: Tracer, parent: Span, spans: Iterable[timeline.Span], clock: Clock, skipped: Set[str]
) -> None:
    """Add a child span for each phase that is not skipped."""
    context = set_span_in_context(parent, Context())
    for phase, begin, end in spans:
        if phase not in skipped:
            child = tracer.start_span(_NAMES.get(phase, phase), context, start_time=clock.epoch(begin))
            child.end(clock.epoch(end))
