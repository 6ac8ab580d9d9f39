"""Span queue: holds spans for the collector, and counts those that cannot be sent."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from mlsrv_opentelemetry.exporters import LOGGERS

logger = logging.getLogger("mlsrv.tracing")

AT_ONCE = 512
"""Spans that are sent together at most."""

DELAY = 1.0
"""Seconds that a span waits for others at most."""


class SpanQueue(SpanProcessor):
    """OpenTelemetry's batch processor with a bounded queue: if `limit` spans wait, further ones are dropped.

    Ending a span never waits for the collector. Dropped spans are logged once, and their number at the end; a
    collector that does not accept spans is logged once until it does again.

    Args:
        exporter: sends spans, in a thread of its own.
        server: for messages.
        limit: spans that may wait.

    Attributes:
        lost: spans that never arrived.
        failing: whether spans could not be sent, and none has arrived since.
    """

    def __init__(self, exporter: SpanExporter, server: str, limit: int) -> None:
        self.lost = 0
        self._server = server
        self._limit = limit
        self._waiting = 0
        self.failing = False
        self._was_full = False
        self._lock = threading.Lock()
        self._sender = _Sender(exporter, self)
        self._batches = BatchSpanProcessor(
            self._sender,
            max_queue_size=limit + AT_ONCE,
            schedule_delay_millis=DELAY * 1000,
            max_export_batch_size=min(AT_ONCE, limit),
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: a span counts when it ends."""

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            full = self._waiting >= self._limit
            self._waiting += not full
            self.lost += full
            first = full and not self._was_full
            self._was_full |= full
        if not full:
            self._batches.on_end(span)
        elif first:
            logger.warning("Spans are dropped, because %d already wait for %s", self._limit, self._server)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._batches.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Send the spans that wait, which takes as long as the collector needs; `abort` ends that."""
        self._batches.shutdown()
        self._sender.stop_capture()
        if self.lost:
            logger.warning("%d spans did not reach %s", self.lost, self._server)

    def abort(self) -> None:
        """Stop sending. May be called from any thread."""
        self._sender.abort()

    def dequeued(self, count: int) -> None:
        """Count spans that no longer wait."""
        with self._lock:
            self._waiting -= count

    def failed(self, count: int, reason: str) -> None:
        """Count spans that could not be sent."""
        with self._lock:
            self.lost += count
            first, self.failing = not self.failing, True
        if first:
            logger.warning("Spans do not reach %s and are dropped: %s", self._server, reason)

    def delivered(self) -> None:
        """Record that spans were delivered."""
        with self._lock:
            again, self.failing = self.failing, False
        if again:
            logger.warning("Spans reach %s again; %d were dropped before", self._server, self.lost)


class _Sender(SpanExporter):
    """Passes spans to the exporter and reports the result to the queue."""

    def __init__(self, exporter: SpanExporter, queue: SpanQueue) -> None:
        self._exporter = exporter
        self._queue = queue
        self._aborted = False
        self._logs = _LogCapture()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._queue.dequeued(len(spans))
        if self._aborted:
            self._queue.failed(len(spans), self._logs.last)
            return SpanExportResult.FAILURE
        try:
            with self._logs:
                result = self._exporter.export(spans)
        except Exception as error:  # any error: the sending thread must go on
            self._logs.last = f"{type(error).__name__}: {error}"
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._queue.delivered()
        else:
            self._queue.failed(len(spans), self._logs.last)
        return result

    def abort(self) -> None:
        self._aborted = self._logs.is_final = True
        self.shutdown()

    def stop_capture(self) -> None:
        """Stop capturing the exporter's log records."""
        self._logs.stop()

    def shutdown(self) -> None:
        exporter, self._exporter = self._exporter, _NOWHERE
        with self._logs:
            exporter.shutdown()


class _LogCapture(logging.Filter):
    """Captures the exporter's log records of each attempt, keeps them out of the log, and stores the first.

    It captures only in threads that are inside its ``with`` block, because other exporters of this process
    may log, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = "there was no time left"
        self.is_final = False
        self._here = threading.local()
        for name in LOGGERS:
            logging.getLogger(name).addFilter(self)

    def stop(self) -> None:
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(self)

    def __enter__(self) -> None:
        self._here.listening = self._here.is_new = True

    def __exit__(self, *exc_info: object) -> None:
        self._here.listening = False

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(self._here, "listening", False):
            return True
        # The first record of an attempt gives the cause, the last one only says that it gave up.
        if self._here.is_new and not self.is_final:
            self.last = record.getMessage()
        self._here.is_new = False
        return False


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE


_NOWHERE = _Nowhere()
