"""Log records of workers, written by the server in its own form."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from mlsrv_workers.frames import Kind

if TYPE_CHECKING:
    from mlsrv_workers.connection import Connection

_formatter = logging.Formatter()
_EXTRA = ("request_id", "model", "version", "trace_id")


class ForwardingHandler(logging.Handler):
    """Sends records to the server; callable from any thread."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._connection = connection
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        values: dict[str, Any] = {
            "name": record.name,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "msg": record.getMessage(),
            "created": record.created,
            "pathname": record.pathname,
            "lineno": record.lineno,
            "funcName": record.funcName,
            "threadName": record.threadName,
            "process": record.process,
        }
        if record.exc_info:
            values["exc_text"] = record.exc_text or _formatter.formatException(record.exc_info)
        values |= {name: str(vars(record)[name]) for name in _EXTRA if vars(record).get(name) is not None}
        self._connection.send_threadsafe(Kind.LOG, values)


def write(values: dict[str, Any], worker: int) -> None:
    """Hand a worker's record to the server's logging."""
    record = logging.makeLogRecord({**values, "args": None, "worker": worker})
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
