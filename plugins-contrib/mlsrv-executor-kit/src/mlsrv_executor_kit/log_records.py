"""Log records: those of another process as plain values, written by the server in its own format."""

from __future__ import annotations

import logging
from typing import Any

from mlsrv.telemetry.request_logging import current_fields
from mlsrv_executor_kit.plain_values import plain_value
from mlsrv_protocol.plain_arrays import as_text
from mlsrv_telemetry_kit.log_text import FIELD, MESSAGE, cut, cut_traceback

__all__ = [
    "handle_record",
    "record_fields",
]


_formatter = logging.Formatter()
_TYPES = {"name": str, "levelno": int, "levelname": str, "msg": str, "created": float, "msecs": float}
_NEVER = frozenset({"args", "exc_info", "stack_info"})
_OF_SERVER = frozenset({"mlsrv.audit", "mlsrv.access"})
"""Loggers whose records the server alone makes: who has called it."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def record_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return a record, with the fields of the request that is being answered, as plain values."""
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
    """Pass a worker's log record to the server's logging.

    Raises:
        ValueError: the values are not those of a record.
    """
    if any(type(values.get(name)) is not kind for name, kind in _TYPES.items()):
        raise ValueError("the values are not those of a log record")
    plain = {name: value for name, value in values.items() if name not in _NEVER}
    record = logging.makeLogRecord({**plain, "worker": worker})
    if record.name in _OF_SERVER:
        record.name = "mlsrv.workers"
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
