"""Log queue: records and printed text wait in it for one thread that writes them.

Nothing else of the server waits for the reader of its output: what does not fit is dropped, counted and told.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from copy import copy
from typing import TextIO, TypeAlias, cast

from mlsrv.telemetry.request_logging import FIELDS
from mlsrv_cli.log_output import Output, OutputHandler, Printed
from mlsrv_settings_kit.redaction import redacted, without_secrets
from mlsrv_telemetry_kit.log_text import MESSAGE, cut, cut_traceback

logger = logging.getLogger("mlsrv.cli")

LIMIT = 16 * 2**20
"""Characters and bytes that may wait."""

PATIENCE = 0.2
"""Seconds without any progress after which text that is printed no longer waits for room."""

TOGETHER = 500
"""Jobs that are written together: one system call for each would cost more than the lines."""

_OVERHEAD = 500
_STANDARD = frozenset((*logging.makeLogRecord({}).__dict__, *FIELDS, "taskName"))
_Job: TypeAlias = "tuple[int, Callable[[], None]]"


class LogQueue:
    """The queue and its thread. `start` diverts what is logged and printed, `close` ends that.

    Attributes:
        dropped: records and pieces of printed text that did not fit.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._told = 0
        self._size = 0
        self._progress = 0
        self._stalled = self._closing = self._forked = False
        self._jobs: deque[_Job] = deque()
        self._news = threading.Condition()
        self._failed: set[str] = set()
        self._outputs: dict[int, Output] = {}
        self._streams: list[tuple[str, TextIO | None]] = []
        self._inner: list[logging.Handler] = []
        self._thread = threading.Thread(target=self._run, name="mlsrv-log", daemon=True)

    def output_handler(self, descriptor: int, name: str) -> logging.Handler:
        """Return a handler that writes to a descriptor of this process."""
        return OutputHandler(self._output(descriptor, name))

    def start(self) -> None:
        """Divert every handler of every logger, and ``sys.stdout`` and ``sys.stderr``, to the thread."""
        for owner in _loggers():
            owner.handlers = [self._diverted(handler) for handler in owner.handlers]
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            self._streams.append((name, getattr(sys, name)))
            setattr(sys, name, self._printing(descriptor, name))
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave)
        self._thread.start()

    def close(self, seconds: float) -> bool:
        """Write what waits within that time, and give the streams back; return False if it does not end."""
        for name in ("stdout", "stderr"):
            getattr(sys, name).flush()
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join(seconds)
        self._give_streams_back()
        return not self._thread.is_alive()

    def put_record(self, handler: logging.Handler, record: logging.LogRecord) -> None:
        """Have a handler emit a record; never waits."""
        size = _OVERHEAD + len(record.msg) + len(record.exc_text or "")
        self._put(size, lambda: handler.emit(_without_secrets(record)))

    def reopen(self) -> None:
        """Have every log file opened again, because it was renamed; errors are logged."""
        for handler in self._inner:
            if isinstance(handler, logging.FileHandler):
                self._put(_OVERHEAD, lambda handler=handler: _reopen(handler))  # type: ignore[misc]  # mypy infers no default

    # --- what is written ----------------------------------------------------------------------------------

    def _put(self, size: int, job: Callable[[], None]) -> None:
        if self._forked or (self._closing and not self._thread.is_alive()):
            self._do(job)
            self._flush()
            return
        with self._news:
            if self._size + size > LIMIT or self._closing:
                self.dropped += 1
                return
            self._size += size
            self._jobs.append((size, job))
            self._news.notify()

    def _print(self, output: Output, data: bytes) -> None:
        with self._news:
            # A reader that is only slow slows down what is printed, as it would without this queue.
            while self._size + len(data) > LIMIT and not (self._stalled or self._closing or self._forked):
                before = self._progress
                self._news.wait(PATIENCE)
                self._stalled = before == self._progress
        for begin in range(0, len(data), LIMIT // 4):
            part = data[begin : begin + LIMIT // 4]
            self._put(len(part), lambda part=part: output.add(part))  # type: ignore[misc]  # mypy infers no default

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._jobs and not self._closing:
                    self._news.wait()
                jobs = [self._jobs.popleft() for _ in range(min(TOGETHER, len(self._jobs)))]
            if not jobs:
                return
            for _, job in jobs:
                self._do(job)
            self._flush()
            with self._news:
                self._size -= sum(size for size, _ in jobs)
                self._news.notify_all()
            self._tell_dropped()

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # handlers of `logging_settings` may raise anything
            self._tell_failure(f"A log handler failed: {type(error).__name__}: {error}")

    def _flush(self) -> None:
        for output in self._outputs.values():
            try:
                output.flush()
            except OSError as error:
                self._tell_failure(f"The log cannot be written to {output.name}: {error.strerror or error}")
        self._progressed()

    def _progressed(self) -> None:
        self._progress += 1
        self._stalled = False

    def _tell_dropped(self) -> None:
        dropped = self.dropped
        if dropped > self._told and not self._closing:
            count, self._told = dropped - self._told, dropped
            logger.warning("The log dropped %d entries: they came faster than they could be written", count)

    def _tell_failure(self, sentence: str) -> None:
        """Tell something that cannot be logged once, on stderr."""
        if sentence in self._failed:
            return
        self._failed.add(sentence)
        try:
            os.write(2, f"Error: {sentence}; what is lost is not told again.\n".encode())
        except OSError:
            return  # there is no other place to tell it

    # --- diverting ----------------------------------------------------------------------------------------

    def _diverted(self, handler: logging.Handler) -> logging.Handler:
        if isinstance(handler, logging.NullHandler | DivertedHandler):
            return handler
        self._inner.append(handler)

        def failed(record: logging.LogRecord) -> None:
            error = sys.exc_info()[1]
            reason = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
            self._tell_failure(f"The log handler {type(handler).__name__} failed: {reason}")

        handler.handleError = failed  # type: ignore[method-assign]  # logging's own prints a traceback for each
        return DivertedHandler(self, handler)

    def _output(self, descriptor: int, name: str) -> Output:
        if descriptor not in self._outputs:
            self._outputs[descriptor] = Output(descriptor, name, self._progressed)
        return self._outputs[descriptor]

    def _printing(self, descriptor: int, name: str) -> TextIO:
        output = self._output(descriptor, name)
        raw = Printed(descriptor, lambda data: self._print(output, data))
        buffer = io.BufferedWriter(cast(io.RawIOBase, raw))
        return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def _give_streams_back(self) -> None:
        for name, stream in self._streams:
            setattr(sys, name, stream)
        self._streams.clear()

    def _leave(self) -> None:
        """Write directly in a process that was forked from this one: the thread is not in it."""
        self._forked = True
        self._news = threading.Condition()
        self._jobs.clear()
        self._give_streams_back()


class DivertedHandler(logging.Handler):
    """Stands in for a handler: filters as it does, and has its records written by a `LogQueue`."""

    def __init__(self, queue: LogQueue, inner: logging.Handler) -> None:
        super().__init__(inner.level)
        self.filters = inner.filters
        self.inner = inner
        self._queue = queue

    def emit(self, record: logging.LogRecord) -> None:
        self._queue.put_record(self.inner, _detached(record, self.inner))


def _detached(record: logging.LogRecord, handler: logging.Handler) -> logging.LogRecord:
    """Return a copy that keeps nothing alive (arguments, frames of a traceback)."""
    made = copy(record)
    try:
        message = record.getMessage()
    except Exception as error:  # arguments that do not fit their text, or a `__str__` that raises
        message = f"{record.msg} (its arguments cannot be inserted: {type(error).__name__}: {error})"
    made.msg, made.args = cut(message, MESSAGE), None
    text = record.exc_text
    if not text and record.exc_info:
        text = (handler.formatter or logging.Formatter()).formatException(record.exc_info)
    made.exc_text = cut_traceback(text) if text else None
    made.exc_info = None
    return made


def _without_secrets(record: logging.LogRecord) -> logging.LogRecord:
    record.msg = without_secrets(record.msg)
    if record.exc_text:
        record.exc_text = without_secrets(record.exc_text)
    extra = record.__dict__.keys() - _STANDARD
    record.__dict__.update({name: redacted(record.__dict__[name], name) for name in extra})
    return record


def _reopen(handler: logging.FileHandler) -> None:
    handler.acquire()
    try:
        old, handler.mode = handler.stream, "a"
        handler.stream = handler._open()
        if old is not None:
            old.close()
    except OSError as error:
        logger.error("The log file %s cannot be opened again: %s", handler.baseFilename, error.strerror)
    else:
        logger.info("The log file %s was opened again", handler.baseFilename)
    finally:
        handler.release()


def _loggers() -> list[logging.Logger]:
    """Return every logger that exists."""
    named = logging.Logger.manager.loggerDict.values()
    return [logging.getLogger(), *(one for one in named if isinstance(one, logging.Logger))]
