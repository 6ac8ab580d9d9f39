"""Error details: decides how much clients are told about an unexpected exception of a model's code."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelFailed, ModelLoadError, RepositoryError

Details: TypeAlias = Literal["full", "class", "none"]


_WITH_DETAILS = (ModelFailed, ModelLoadError, RepositoryError)


class ErrorDetails:
    """The details of unexpected exceptions that the clients of one kernel are told.

    Args:
        chosen: the setting; None decides by the address, while the kernel serves.

    Attributes:
        level: what holds now: the text of the exception, its class alone, or nothing of it.
    """

    def __init__(self, chosen: Details | None = None) -> None:
        self._chosen = chosen
        self.level: Details = chosen or "full"

    @contextmanager
    def serving(self, host: str) -> Iterator[None]:
        """Hold the texts back, unless the setting says otherwise or only this machine can reach `host`."""
        if self._chosen is None and not is_loopback(host):
            self.level = "class"
        try:
            yield
        finally:
            self.level = self._chosen or "full"

    def problem(self, of: str, sentence: str) -> str:
        """Return what a client is told of a problem of a part that may name other machines, such as brokers.

        Args:
            of: the part, to begin a sentence with.
            sentence: the problem, with all details.
        """
        return sentence if self.level == "full" else f"{of} does not work; the log has the details."

    def told(self, error: MLSrvError, context: CallContext | None = None) -> MLSrvError:
        """Return what a client is told of an error: the error, or a copy with a shorter text, caused by it.

        Sentences of mlsrv, and what a model refuses on purpose, stay as they are.
        """
        if self.level == "full" or not isinstance(error, _WITH_DETAILS) or not error.raised:
            return error
        text = f"{error.what}: {error.raised}" if self.level == "class" else error.what
        where = "" if context is None else f" (request {context.request_id})"
        told = copy_of(error)
        told.args = (f"{text}{where}; the log has the details",)
        told.__cause__ = error
        return told


def copy_of(error: MLSrvError) -> MLSrvError:
    """Return the error without its traceback and cause, whatever its class needs to be made."""
    copied = type(error).__new__(type(error), *error.args)
    copied.__dict__.update(error.__dict__)
    return copied


def is_loopback(host: str) -> bool:
    """Return True if a host name or address is one that no other machine reaches."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
