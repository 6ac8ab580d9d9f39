"""Log formats: lines of text or of JSON. What clients and models make is cut, and escaped in text."""

from __future__ import annotations

import json
import logging
import time
from copy import copy
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from mlsrv.telemetry.request_logging import FIELDS, current_fields, printable
from mlsrv_telemetry_kit.log_text import FIELD, MESSAGE, cut, cut_traceback, escaped, indented

_STANDARD = {
    *logging.makeLogRecord({}).__dict__,
    *FIELDS,
    *("message", "asctime", "taskName", "model_tag", "about"),
}


class RequestFilter(logging.Filter):
    """Adds the fields `FIELDS` of the current request to records of model code; a missing field is None.

    Every record passes.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        missing = [name for name in FIELDS if name not in record.__dict__]
        if missing:
            known = current_fields()
            for name in missing:
                setattr(record, name, known.get(name))
        return True


class EscapingFormatter(logging.Formatter):
    """Writes one line for each record, and below it the lines of a traceback, each after ``  | ``."""

    @classmethod
    def like(cls, plain: logging.Formatter) -> EscapingFormatter:
        """Return one with the format, the dates and the defaults of a plain `logging.Formatter`."""
        made = cls()
        made.__dict__.update(plain.__dict__)
        return made

    def format(self, record: logging.LogRecord) -> str:
        record.message = escaped(cut(record.getMessage().rstrip(), MESSAGE))
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        lines = [self.formatMessage(record)]
        exception = _exception(self, record)
        lines += [indented(text) for text in (exception, record.stack_info) if text]
        return "\n".join(lines)

    def formatMessage(self, record: logging.LogRecord) -> str:
        unsafe = [
            name
            for name, value in record.__dict__.items()
            if isinstance(value, str) and name != "message" and not _is_safe(value)
        ]
        if unsafe:
            record = copy(record)
            record.__dict__.update({name: escaped(cut(getattr(record, name), FIELD)) for name in unsafe})
        return super().formatMessage(record)


class TextFormatter(EscapingFormatter):
    """Writes ``time [logger][model:version] LEVEL - message (request ID, process NUMBER, worker NUMBER)``;
    parts in brackets are left out where they are unknown."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(name)s]%(model_tag)s %(levelname)s - %(message)s%(about)s")
        self._second = (0, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        # The calendar is computed once for all lines of one second.
        second, text = self._second
        if second != int(record.created):
            text = time.strftime(self.default_time_format, self.converter(record.created))
            self._second = int(record.created), text
        return f"{text},{int(record.msecs):03d}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        model, version = _field(record, "model"), _field(record, "version")
        tag = f"{model}:{version}" if model and version else model
        record.model_tag = f"[{printable(str(tag))}]" if tag else ""
        record.about = self._about(record)
        # Every other field of this format is made by the server.
        return logging.Formatter.formatMessage(self, record)

    def _about(self, record: logging.LogRecord) -> str:
        """Return the facts that the message itself does not contain."""
        message = record.message
        ids = {"request": _field(record, "request_id"), "trace": _field(record, "trace_id")}
        texts = {name: printable(str(one)) for name, one in ids.items() if one}
        parts = [f"{name} {text}" for name, text in texts.items() if text not in message]
        numbers = {"process": _field(record, "server_process"), "worker": _field(record, "worker")}
        parts += [f"{name} {number}" for name, number in numbers.items() if number is not None]
        return f" ({', '.join(parts)})" if parts else ""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``name``, ``level``, ``message``, and where there are
    any ``model_name``, ``model_version``, ``request_id``, ``trace_id``, ``worker``, ``exception``, ``stack``
    and extra fields of the record."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "name": record.name,
            "level": record.levelname,
            "message": cut(record.getMessage(), MESSAGE),
            "model_name": _field(record, "model"),
            "model_version": _field(record, "version"),
            "request_id": _field(record, "request_id"),
            "trace_id": _field(record, "trace_id"),
            "worker": _field(record, "worker"),
        }
        texts = {"exception": _exception(self, record), "stack": record.stack_info}
        for key, value in record.__dict__.items():
            # Extra fields of a record never replace the fields of every line.
            if key not in _STANDARD and key not in fields and key not in texts:
                fields[key] = value
        said = {key: _json_value(value) for key, value in fields.items() if value is not None}
        said["message"] = fields["message"]
        return json.dumps(said | {key: text for key, text in texts.items() if text})


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    # Records of workers carry the traceback only as text.
    text = record.exc_text or (formatter.formatException(record.exc_info) if record.exc_info else None)
    return text and cut_traceback(text)


def _is_safe(text: str) -> bool:
    return len(text) <= FIELD and text.isprintable()


def _field(record: logging.LogRecord, name: str) -> Any:
    return getattr(record, name, None)


def _json_value(value: object) -> object:
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, int):
        return value
    return cut(value if isinstance(value, str) else str(value), FIELD)
