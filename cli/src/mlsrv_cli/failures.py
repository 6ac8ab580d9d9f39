"""Failures: the lines and the exit code that an exception becomes."""

from __future__ import annotations

import os
import sys
import traceback

import rich_click as click

USER_FAULT = 2
OTHER_FAILURE = 1
INTERRUPTED = 130


class StartFailed(Exception):
    """The start was abandoned for reasons that are known already.

    Attributes:
        problems: one sentence for each.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def report(error: Exception, *, debug: bool = False) -> int:
    """Print one line on stderr for each problem (after the traceback, if `debug`); return the exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader of the output is gone, and Python would fail again at its final flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OTHER_FAILURE
    if debug:
        traceback.print_exception(error)
    lines, code = explain(error)
    for line in lines:
        print(f"Error: {line}", file=sys.stderr)
    return code


def explain(error: Exception) -> tuple[list[str], int]:
    """Return the lines to print for an exception, and the exit code: 2 for the user's mistakes, else 1."""
    if isinstance(error, click.Abort):
        return ["Interrupted."], INTERRUPTED
    if isinstance(error, click.ClickException):
        return [_usage(error)], error.exit_code
    if isinstance(error, StartFailed):
        return error.problems, OTHER_FAILURE

    from mlsrv.errors import Code, ConfigurationError, MLSrvError

    if isinstance(error, ConfigurationError):
        return error.problems, USER_FAULT
    if isinstance(error, MLSrvError):
        mistakes = (Code.INVALID_ARGUMENT, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
        return [str(error)], USER_FAULT if error.code in mistakes else OTHER_FAILURE
    text = " ".join(str(error).split())
    return [f"{type(error).__name__}: {text} (--debug shows where)"], OTHER_FAILURE


def _usage(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    ctx = getattr(error, "ctx", None)
    return f"{message} (see {ctx.command_path} --help)" if ctx is not None else message
