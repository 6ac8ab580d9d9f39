"""Errors on their way from a worker to the server."""

from __future__ import annotations

import pickle
import signal
import traceback
from typing import Any

from mlsrv.errors import Code, MLSrvError


class WorkerEnded(MLSrvError):
    """A worker process ended while it had work to do, or did not come up."""

    code = Code.INTERNAL


class WorkerTraceback(Exception):
    """The cause of an error that was raised in a worker process: the traceback that it had there."""

    def __str__(self) -> str:
        return f"in a worker process\n{self.args[0].rstrip()}"


def dump_error(error: MLSrvError) -> tuple[Any, ...]:
    """An error as plain values: pickled for the same class, its text and code for a server that lacks it, and
    if the client is not to blame the traceback."""
    try:
        pickled = pickle.dumps(error)
    except Exception:  # an author's error may hold anything; text and code are enough
        pickled = None
    trace = None
    if error.code is Code.INTERNAL:
        trace = "".join(traceback.format_exception(error.__cause__ or error))
    return pickled, str(error), error.code.value, trace


def load_error(plain: tuple[Any, ...]) -> MLSrvError:
    """The error that `dump_error` took apart, caused by a `WorkerTraceback` if it has one."""
    pickled, text, code, trace = plain
    error = _unpickled(pickled) if pickled is not None else None
    if error is None:
        error = MLSrvError(text)
        error.code = Code(code)
    if trace is not None:
        error.__cause__ = WorkerTraceback(trace)
    return error


def _unpickled(pickled: bytes) -> MLSrvError | None:
    try:
        error = pickle.loads(pickled)
    except Exception:  # its class is known to the worker alone; text and code are enough
        return None
    return error if isinstance(error, MLSrvError) else None


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
