"""Failures: the end of worker processes."""

from __future__ import annotations

import signal

from mlsrv.errors import Code, MLSrvError, ModelFailed


class WorkerEnded(MLSrvError):
    """A worker process ended while it had calls to answer, or did not start."""

    code = Code.INTERNAL


class WorkerReplaced(WorkerEnded):
    """The pool ended a worker process that had calls to answer; the client may repeat its request."""

    code = Code.OVERLOADED
    reason = "worker_replaced"


def unreadable(error: Exception) -> MLSrvError:
    """Return the error for an answer that is not what a worker sends; the process is not to be trusted."""
    made = ModelFailed(f"The answer of a worker process cannot be read: {error}"[:300])
    made.what, made.raised = "The answer of a worker process cannot be read", type(error).__name__
    made.__cause__ = error
    return made


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
