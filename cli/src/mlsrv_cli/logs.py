"""Logging of the server: to stdout, as text or as JSON lines, or as the setting ``logging_settings`` says."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from mlsrv.errors import ConfigurationError
from mlsrv.settings import KernelSettings

LEVELS = ("debug", "info", "warning", "error", "critical")

_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "model", "version"}


class TextFormatter(logging.Formatter):
    """``time [logger][model:version] LEVEL - message``; the part about the model only where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(name)s]%(model_tag)s %(levelname)s - %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        model, version = _model_of(record)
        tag = f"{model}:{version}" if model and version else model
        record.model_tag = f"[{tag}]" if tag else ""
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``name``, ``level``, ``message``, and where there are
    any ``model_name``, ``model_version``, ``exception`` and extra fields of the record (``request_id``)."""

    def format(self, record: logging.LogRecord) -> str:
        model, version = _model_of(record)
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "name": record.name,
            "level": record.levelname,
            "message": record.getMessage(),
            "model_name": model,
            "model_version": version,
            "exception": self.formatException(record.exc_info) if record.exc_info else None,
        }
        extra = {key: _plain(value) for key, value in record.__dict__.items() if key not in _STANDARD}
        return json.dumps({key: value for key, value in (fields | extra).items() if value is not None})


def configure(settings: KernelSettings, *, level: str | None = None) -> None:
    """Set logging up for a server.

    Args:
        settings: ``use_structured_logging``, ``debug`` and ``logging_settings`` count. The latter replaces
            all but an explicit `level`.
        level: one of `LEVELS`; "debug" or "info", as ``settings.debug`` says, when None.

    Raises:
        ConfigurationError: ``logging_settings`` cannot be used.
    """
    logging.captureWarnings(True)
    if settings.logging_settings is not None:
        _apply(settings.logging_settings)
    else:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonFormatter() if settings.use_structured_logging else TextFormatter())
        logging.getLogger().addHandler(handler)
        # Other libraries' debug lines would drown ours.
        logging.getLogger().setLevel(logging.INFO)
        logging.getLogger("mlsrv").setLevel(logging.DEBUG if settings.debug else logging.INFO)
    if level is not None:
        logging.getLogger().setLevel(level.upper())
        logging.getLogger("mlsrv").setLevel(level.upper())


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
    except Exception as error:  # logging.config raises whatever its handlers raise
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise ConfigurationError(f"{where}: {type(error).__name__}: {error}{cause}") from error


def _dict_config(config: dict[str, Any]) -> None:
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False} | config)


def _model_of(record: logging.LogRecord) -> tuple[str | None, str | None]:
    return getattr(record, "model", None), getattr(record, "version", None)


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    return value if value is None or isinstance(value, str | int) else str(value)
