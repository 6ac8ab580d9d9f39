"""Failures: errors that are sent from a worker to the server."""

from __future__ import annotations

import pickle
import signal
import traceback
from typing import Any

from mlsrv.errors import Code, MLSrvError


class WorkerEnded(MLSrvError):
    """A worker process ended while it had calls to answer, or did not start."""

    code = Code.INTERNAL


class WorkerTraceback(Exception):
    """The cause of an error that was raised in a worker process: its traceback there."""

    def __str__(self) -> str:
        return f"in a worker process\n{self.args[0].rstrip()}"


class WorkerReplaced(WorkerEnded):
    """The pool ended a worker process that had calls to answer; the client may repeat its request."""

    code = Code.OVERLOADED
    reason = "worker_replaced"


def dump_error(error: MLSrvError) -> tuple[Any, ...]:
    """Return an error as plain values.

    They are the pickled error, its text and code for a server that lacks its class, and its traceback unless
    the client caused it.
    """
    try:
        pickled = pickle.dumps(error)
    except Exception:  # a model's error may hold any object; text and code are enough
        pickled = None
    trace = None
    if error.code is Code.INTERNAL:
        trace = "".join(traceback.format_exception(error.__cause__ or error))
    return pickled, str(error), error.code.value, trace


def load_error(plain: tuple[Any, ...]) -> MLSrvError:
    """Return the error that `dump_error` took apart, caused by a `WorkerTraceback` if it has one."""
    pickled, text, code, trace = plain
    error = _unpickle(pickled) if pickled is not None else None
    if error is None:
        error = MLSrvError(text)
        error.code = Code(code)
    if trace is not None:
        error.__cause__ = WorkerTraceback(trace)
    return error


def _unpickle(pickled: bytes) -> MLSrvError | None:
    try:
        error = pickle.loads(pickled)
    except Exception:  # its class exists in the worker only; text and code are enough
        return None
    return error if isinstance(error, MLSrvError) else None


def describe_exit(status: int | None) -> str:
    """Return a description of a process's end, for messages."""
    if status is None:
        return "it closed its connection"
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {-status}, {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
