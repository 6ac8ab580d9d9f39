"""Log forwarding: log records of workers, written by the server in its own format."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from mlsrv.telemetry.log_text import FIELD, MESSAGE, cut, cut_traceback
from mlsrv.telemetry.request_logging import current_fields
from mlsrv_protocol.plain_arrays import as_text
from mlsrv_workers.ipc.frames import FrameKind, dump
from mlsrv_workers.ipc.plain_values import plain_value

if TYPE_CHECKING:
    from mlsrv_workers.ipc.connection import Connection

_formatter = logging.Formatter()
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class ForwardingHandler(logging.Handler):
    """Sends log records to the server; may be called from any thread."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._connection.send_threadsafe(FrameKind.LOG, dump(_record_fields(record)))
        except Exception:  # a record's arguments may not fit its text; `handleError` reports it
            self.handleError(record)


def _record_fields(record: logging.LogRecord) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": record.name,
        "levelno": record.levelno,
        "levelname": record.levelname,
        "msg": cut(record.getMessage(), MESSAGE),
        "created": record.created,
        "msecs": record.msecs,
        "pathname": record.pathname,
        "filename": record.filename,
        "module": record.module,
        "lineno": record.lineno,
        "funcName": record.funcName,
        "threadName": record.threadName,
        "process": record.process,
    }
    if record.exc_info:
        values["exc_text"] = cut_traceback(record.exc_text or _formatter.formatException(record.exc_info))
    for name, value in vars(record).items():
        if name not in _STANDARD:
            plain = isinstance(value, int | float | None)
            values[name] = plain_value(value) if plain else cut(as_text(value), FIELD)
    return {name: _short(value) for name, value in current_fields().items()} | values


def _short(value: object) -> object:
    return cut(value, FIELD) if isinstance(value, str) else value


def handle_record(values: dict[str, Any], worker: int) -> None:
    """Pass a worker's log record to the server's logging."""
    record = logging.makeLogRecord({**values, "args": None, "worker": worker})
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
