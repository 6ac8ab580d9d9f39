"""Request logging: fields of log records about requests, and the one record of a failed request."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

from mlsrv.context import CallContext, current_context
from mlsrv.errors import Code, MLSrvError, ModelLoadError
from mlsrv_telemetry_kit.log_text import cut
from mlsrv_telemetry_kit.metrics import current_metrics

logger = logging.getLogger("mlsrv.requests")

FIELDS = ("request_id", "trace_id", "model", "version", "principal", "worker")
"""The fields of a record that say what it is about."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def fields_of(context: CallContext) -> dict[str, Any]:
    """The ``extra`` of a record about a request: `FIELDS` as far as they are known."""
    known = {
        "request_id": context.request_id or None,
        "trace_id": trace_id_of(context),
        "model": context.model or None,
        "version": context.version,
        "principal": context.principal.name if context.principal is not None else None,
        "worker": context.worker,
    }
    return {name: value for name, value in known.items() if value is not None}


def current_fields() -> dict[str, Any]:
    """The ``extra`` of a record of model code that runs now: about the request that it answers, or about the
    model alone while that is loaded or unloaded. Empty elsewhere."""
    context, metrics = current_context.get(), current_metrics.get()
    known = {} if context is None else fields_of(context)
    if metrics is not None:
        known["model"] = metrics.name
        if metrics.version is not None:
            known["version"] = metrics.version
    return known


def trace_id_of(context: CallContext) -> str | None:
    """The trace that a request belongs to (W3C ``traceparent``), or None."""
    traceparent = context.trace.get("traceparent")
    if traceparent is None:
        return None
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[1] if found is not None and found[1].strip("0") else None


def report(error: Exception, context: CallContext) -> None:
    """Log that a request failed; only the first call for a request does.

    What is the fault of a model or of the server is an error with its traceback: that of the model's code, if
    it was raised there. What was refused on purpose is the client's business, or passes: it is there on debug
    level. So is a model that did not load, since the log has that already.
    """
    if context.reported:
        return
    context.reported = True
    expected = isinstance(error, MLSrvError)
    at_fault = not isinstance(error, MLSrvError) or (
        error.code is Code.INTERNAL and not isinstance(error, ModelLoadError)
    )
    level = logging.ERROR if at_fault else logging.DEBUG
    if not logger.isEnabledFor(level):
        return
    logger.log(
        level,
        "Request %s %s: %s",
        printable(context.request_id),
        "failed" if at_fault else "was refused",
        error if expected else f"{type(error).__name__}: {error}",
        exc_info=error.__cause__ or error if expected else error,
        extra=fields_of(context),
    )


def reported(error: Exception, context: CallContext) -> MLSrvError:
    """Log that a request failed, as `report`; returns what its client is told: the error itself, or one that
    tells nothing and has it as its cause."""
    report(error, context)
    if isinstance(error, MLSrvError):
        return error
    told = MLSrvError(internal_error(context))
    told.__cause__ = error
    return told


def internal_error(context: CallContext) -> str:
    """Return the sentence for a client about an error whose details only the log has."""
    return f"Internal server error (request {context.request_id})"


def thread_failed(failed: threading.ExceptHookArgs) -> None:
    """Log what ended a thread, for `threading.excepthook` of a process that serves: models start threads."""
    if failed.exc_type is not SystemExit:
        name = failed.thread.name if failed.thread is not None else "that is gone"
        logger.error("The thread %s failed", name, exc_info=failed.exc_value, extra=current_fields())


def printable(text: str, longest: int = 200) -> str:
    """A text that a client made, for a line of the log: it is cut, and line breaks and the like are
    escaped."""
    text = cut(text, longest)
    return text if text.isprintable() else repr(text)
