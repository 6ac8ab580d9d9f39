"""Errors on their way from a worker to the server."""

from __future__ import annotations

import pickle
import signal
from typing import Any

from mlsrv.errors import Code, MLSrvError


class WorkerEnded(MLSrvError):
    """A worker process ended while it had work to do, or did not come up."""

    code = Code.INTERNAL


def dump_error(error: MLSrvError) -> tuple[Any, ...]:
    """An error as plain values: pickled for the same class, and its text and code for a server that lacks
    it."""
    try:
        pickled = pickle.dumps(error)
    except Exception:  # an author's error may hold anything; text and code are enough
        pickled = None
    return pickled, str(error), error.code.value


def load_error(plain: tuple[Any, ...]) -> MLSrvError:
    """The error that `dump_error` took apart."""
    pickled, text, code = plain
    if pickled is not None:
        try:
            error = pickle.loads(pickled)
        except Exception:  # its class is known to the worker alone; text and code are enough
            error = None
        if isinstance(error, MLSrvError):
            return error
    made = MLSrvError(text)
    made.code = Code(code)
    return made


def describe_exit(status: int | None) -> str:
    """How a process ended, for people."""
    if status is None:
        return "it closed its connection"
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {-status}, {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
