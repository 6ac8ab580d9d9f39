"""Server logging: to stdout, as text or as JSON lines, or as the setting ``logging_settings`` configures
it."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import threading
import time
from datetime import UTC, datetime
from io import TextIOWrapper
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from mlsrv.errors import ConfigurationError
from mlsrv.settings import KernelSettings
from mlsrv.telemetry.request_logging import FIELDS, current_fields, printable, thread_failed

LEVELS = ("debug", "info", "warning", "error", "critical")

_STANDARD = {
    *logging.makeLogRecord({}).__dict__,
    *FIELDS,
    *("message", "asctime", "taskName", "model_tag", "about", "more"),
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


class TextFormatter(logging.Formatter):
    """Writes ``time [logger][model:version] LEVEL - message (request ID, worker NUMBER)``; parts in brackets
    are left out where they are unknown."""

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
        record.model_tag = f"[{tag}]" if tag else ""
        record.about = self._about(record)
        return super().formatMessage(record)

    def _about(self, record: logging.LogRecord) -> str:
        """Return the facts that the message itself does not contain."""
        message = record.message
        ids = {"request": _field(record, "request_id"), "trace": _field(record, "trace_id")}
        texts = {name: printable(one) for name, one in ids.items() if one}
        parts = [f"{name} {text}" for name, text in texts.items() if text not in message]
        worker = _field(record, "worker")
        parts += [] if worker is None else [f"worker {worker}"]
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
            "message": record.getMessage(),
            "model_name": _field(record, "model"),
            "model_version": _field(record, "version"),
            "request_id": _field(record, "request_id"),
            "trace_id": _field(record, "trace_id"),
            "worker": _field(record, "worker"),
            "exception": self._exception(record),
            "stack": record.stack_info,
        }
        for key, value in record.__dict__.items():
            # Extra fields of a record never replace the fields of every line.
            if key not in _STANDARD and key not in fields:
                fields[key] = value
        said = {key: _json_value(value) for key, value in fields.items() if value is not None}
        return json.dumps(said)

    def _exception(self, record: logging.LogRecord) -> str | None:
        # Records of workers carry the traceback only as text.
        return self.formatException(record.exc_info) if record.exc_info else record.exc_text


class CoalescingHandler(logging.StreamHandler[TextIO]):
    """Writes lines that arrive together (see `mlsrv.telemetry.access_log.Access.record`) in one system call,
    because each call may make Python switch threads twice."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._gathered: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "more", False):
            try:
                self._gathered.append(self.format(record) + self.terminator)
            except Exception:  # logging reports its own errors
                self.handleError(record)
        else:
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if getattr(record, "more", False) or not self._gathered:
            return line
        before, self._gathered = "".join(self._gathered), []
        return before + line

    def flush(self) -> None:
        """Write the lines that are held back. Logging also calls this at the end of the process."""
        if self._gathered:
            lines, self._gathered = "".join(self._gathered), []
            self.stream.write(lines)
        super().flush()


def configure(settings: KernelSettings, *, level: str | None = None) -> None:
    """Configure the logging of a server.

    Args:
        settings: ``use_structured_logging``, ``debug`` and ``logging_settings`` count. The latter replaces
            all but an explicit `level`.
        level: one of `LEVELS`; "debug" or "info", as ``settings.debug`` says, when None.

    Raises:
        ConfigurationError: ``logging_settings`` cannot be used.
    """
    logging.captureWarnings(True)
    threading.excepthook = thread_failed
    if settings.logging_settings is not None:
        _apply(settings.logging_settings)
    else:
        handler = CoalescingHandler(_whole_lines(sys.stdout))
        handler.setFormatter(JsonFormatter() if settings.use_structured_logging else TextFormatter())
        logging.getLogger().addHandler(handler)
        # Other libraries' debug lines would drown ours.
        logging.getLogger().setLevel(logging.INFO)
        logging.getLogger("mlsrv").setLevel(logging.DEBUG if settings.debug else logging.INFO)
    if level is not None:
        logging.getLogger().setLevel(level.upper())
        logging.getLogger("mlsrv").setLevel(level.upper())
    for each in _handlers():
        each.addFilter(RequestFilter())


def _whole_lines(out: TextIO) -> TextIO:
    """Return a stream to the same file with a buffer of its own.

    Text that models print may end in the middle of a line, and then waits in their buffer for the rest.
    """
    try:
        descriptor = out.fileno()
    except OSError:  # the stream is no file
        return out
    if isinstance(out, TextIOWrapper):
        out.reconfigure(line_buffering=True, write_through=False)
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _handlers() -> list[logging.Handler]:
    """Return every handler of every logger."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    return [
        handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers
    ]


def _apply(wanted: str | dict[str, Any]) -> None:
    where = f"logging_settings {wanted}" if isinstance(wanted, str) else "logging_settings"
    try:
        if isinstance(wanted, dict):
            _dict_config(wanted)
        elif not Path(wanted).is_file():
            raise ConfigurationError(f"{where}: there is no such file.")
        elif Path(wanted).suffix == ".json":
            _dict_config(json.loads(Path(wanted).read_text(encoding="utf-8")))
        else:
            logging.config.fileConfig(wanted, disable_existing_loggers=False)
    except ConfigurationError:
        raise
    except Exception as error:  # logging.config raises any error of its handlers
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise ConfigurationError(f"{where}: {type(error).__name__}: {error}{cause}") from error


def _dict_config(config: dict[str, Any]) -> None:
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False} | config)


def _field(record: logging.LogRecord, name: str) -> Any:
    return getattr(record, name, None)


def _json_value(value: object) -> object:
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    return value if isinstance(value, str | int) else str(value)
