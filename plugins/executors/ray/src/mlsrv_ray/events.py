"""Events: log records and values of metrics of an actor, kept until the server fetches them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from attrs import astuple

from mlsrv.metrics import Metric
from mlsrv_executor_kit.log_records import record_fields
from mlsrv_executor_kit.plain_values import dump_value

LIMIT = 10_000
"""Events that are kept; after that the oldest are dropped, and counted."""

Event: TypeAlias = tuple[str, bytes]
"""A kind, ``"log"`` or ``"metric"``, and plain data."""


class Events(logging.Handler):
    """Collects events from any thread. As a handler it takes log records."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._there = asyncio.Event()
        self._guard = threading.Lock()
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a log record."""
        try:
            self._add("log", dump_value(record_fields(record)))
        except Exception:  # of any kind: logging must not raise
            self.handleError(record)

    def record(self, metric: Metric, value: float, labels: Sequence[str]) -> None:
        """Keep a value of a metric."""
        self._add("metric", dump_value((astuple(metric), value, tuple(labels))))

    async def fetch(self) -> tuple[list[Event], int]:
        """Wait for events, and return them with the number of those that were dropped since the last time."""
        await self._there.wait()
        return self.take()

    def take(self) -> tuple[list[Event], int]:
        """Return the events that are there, likewise."""
        with self._guard:
            self._there.clear()
            found, dropped = list(self._events), self._dropped
            self._events.clear()
            self._dropped = 0
        return found, dropped

    def _add(self, kind: str, body: bytes) -> None:
        with self._guard:
            if len(self._events) >= LIMIT:
                self._events.popleft()
                self._dropped += 1
            is_first = not self._events
            self._events.append((kind, body))
        if is_first:
            self._loop.call_soon_threadsafe(self._there.set)
