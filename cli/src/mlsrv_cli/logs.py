"""Server logging: to stdout, as text or as JSON lines, or as the setting ``logging_settings`` configures
it."""

from __future__ import annotations

import json
import logging
import logging.config
import re
import threading
from pathlib import Path
from typing import Any

from mlsrv.errors import ConfigurationError
from mlsrv.settings import KernelSettings
from mlsrv.telemetry.request_logging import thread_failed
from mlsrv_cli.log_formats import EscapingFormatter, JsonFormatter, RequestFilter, TextFormatter
from mlsrv_cli.log_queue import LogQueue

__all__ = ["LEVELS", "JsonFormatter", "RequestFilter", "TextFormatter", "configure"]

LEVELS = ("debug", "info", "warning", "error", "critical")

_OF_A_LIBRARY = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python\d)", re.IGNORECASE)


class OwnDebugFilter(logging.Filter):
    """Drops debug records of libraries, which would drown those of the server and of model code."""

    def filter(self, record: logging.LogRecord) -> bool:
        return (
            record.levelno >= logging.INFO
            or record.name.partition(".")[0] == "mlsrv"
            or _OF_A_LIBRARY.search(record.pathname) is None
        )


def configure(settings: KernelSettings, *, level: str | None = None) -> LogQueue:
    """Configure the logging of a server, and have a thread write what is logged and printed.

    Args:
        settings: ``use_structured_logging``, ``debug`` and ``logging_settings`` count. The latter replaces
            all but an explicit `level`.
        level: one of `LEVELS`; "debug" or "info", as ``settings.debug`` says, when None.

    Returns:
        The queue, started.

    Raises:
        ConfigurationError: ``logging_settings`` cannot be used.
    """
    logging.captureWarnings(True)
    threading.excepthook = thread_failed
    queue = LogQueue()
    if settings.logging_settings is not None:
        _apply(settings.logging_settings)
        for handler in _handlers():
            if handler.formatter is None or type(handler.formatter) is logging.Formatter:
                handler.setFormatter(EscapingFormatter.like(handler.formatter or logging.Formatter()))
    else:
        handler = queue.output_handler(1, "stdout")
        handler.setFormatter(JsonFormatter() if settings.use_structured_logging else TextFormatter())
        if settings.debug and level is None:
            handler.addFilter(OwnDebugFilter())
        logging.getLogger().addHandler(handler)
        for name in ("", "mlsrv"):
            logging.getLogger(name).setLevel(logging.DEBUG if settings.debug else logging.INFO)
    if level is not None:
        logging.getLogger().setLevel(level.upper())
        logging.getLogger("mlsrv").setLevel(level.upper())
    for each in _handlers():
        each.addFilter(RequestFilter())
    queue.start()
    return queue


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
            raise ConfigurationError(f"{where}: there is no such file ({Path(wanted).absolute()}).")
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
