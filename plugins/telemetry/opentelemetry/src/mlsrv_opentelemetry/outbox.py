"""Where spans wait for the collector, and what becomes of those that cannot be sent."""

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


class Outbox(SpanProcessor):
    """OpenTelemetry's batch processor, behind a count of what waits: once `limit` spans do, further ones are
    dropped. Ending a span never waits for the collector. Of what is lost, the log hears once, and at the end;
    of a collector that does not take spans, once until it does again.

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
        """Nothing: spans count when they end."""

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
            logger.warning("Spans are dropped, for %d wait for %s already", self._limit, self._server)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._batches.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Send what waits, which takes as long as the collector needs; `abort` ends that."""
        self._batches.shutdown()
        self._sender.forget()
        if self.lost:
            logger.warning("%d spans did not reach %s", self.lost, self._server)

    def abort(self) -> None:
        """Send nothing more, from any thread."""
        self._sender.abort()

    def taken(self, count: int) -> None:
        """So many spans no longer wait."""
        with self._lock:
            self._waiting -= count

    def fail(self, count: int, reason: str) -> None:
        """Sending so many spans has failed."""
        with self._lock:
            self.lost += count
            first, self.failing = not self.failing, True
        if first:
            logger.warning("Spans do not reach %s and are dropped: %s", self._server, reason)

    def arrived(self) -> None:
        """Spans arrived."""
        with self._lock:
            again, self.failing = self.failing, False
        if again:
            logger.warning("Spans reach %s again; %d were dropped before", self._server, self.lost)


class _Sender(SpanExporter):
    """Hands spans to the exporter, and hears what becomes of them."""

    def __init__(self, exporter: SpanExporter, outbox: Outbox) -> None:
        self._exporter = exporter
        self._outbox = outbox
        self._aborted = False
        self._words = _Words()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._outbox.taken(len(spans))
        if self._aborted:
            self._outbox.fail(len(spans), self._words.last)
            return SpanExportResult.FAILURE
        try:
            with self._words:
                result = self._exporter.export(spans)
        except Exception as error:  # whatever it is, the thread that sends must go on
            self._words.last = f"{type(error).__name__}: {error}"
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._outbox.arrived()
        else:
            self._outbox.fail(len(spans), self._words.last)
        return result

    def abort(self) -> None:
        self._aborted = self._words.is_final = True
        self.shutdown()

    def forget(self) -> None:
        """The exporter has said its last word."""
        self._words.forget()

    def shutdown(self) -> None:
        exporter, self._exporter = self._exporter, _NOWHERE
        with self._words:
            exporter.shutdown()


class _Words(logging.Filter):
    """Keeps what the exporter says about each of its attempts out of the log, and remembers it. It does so in
    the threads that are in its ``with`` block: other exporters of this process may speak."""

    def __init__(self) -> None:
        super().__init__()
        self.last = "there was no time left"
        self.is_final = False
        self._here = threading.local()
        for name in LOGGERS:
            logging.getLogger(name).addFilter(self)

    def forget(self) -> None:
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(self)

    def __enter__(self) -> None:
        self._here.listening = self._here.is_new = True

    def __exit__(self, *exc_info: object) -> None:
        self._here.listening = False

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(self._here, "listening", False):
            return True
        # The first word of an attempt is about the cause, the last one only about giving up.
        if self._here.is_new and not self.is_final:
            self.last = record.getMessage()
        self._here.is_new = False
        return False


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE


_NOWHERE = _Nowhere()
