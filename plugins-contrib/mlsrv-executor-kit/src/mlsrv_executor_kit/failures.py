"""Failures: errors of a model in another process, as plain values."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

from mlsrv.errors import Code, MLSrvError

__all__ = [
    "RemoteTraceback",
    "dump_error",
    "load_error",
]


class RemoteTraceback(Exception):
    """The cause of an error that was raised in another process: its traceback there."""

    def __str__(self) -> str:
        return f"in another process\n{self.args[0].rstrip()}"


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
    """Return the error that `dump_error` took apart, caused by a `RemoteTraceback` if it has one."""
    pickled, text, code, trace = plain
    error = _unpickle(pickled) if pickled is not None else None
    if error is None:
        error = MLSrvError(text)
        error.code = Code(code)
    if trace is not None:
        error.__cause__ = RemoteTraceback(trace)
    return error


def _unpickle(pickled: bytes) -> MLSrvError | None:
    try:
        error = pickle.loads(pickled)
    except Exception:  # its class exists in the worker only; text and code are enough
        return None
    return error if isinstance(error, MLSrvError) else None
