"""Errors: the failures that every transport can report.

Tree::

    MLSrvError            code INTERNAL; the base of every error with a sentence for the caller
    ├── InvalidPayload    INVALID_ARGUMENT; what a client sent breaks a rule of the protocol
    └── InvalidOutput     INTERNAL; what a model returned cannot be sent

A transport maps `Code` to its own status in one table. `str(error)` is a whole sentence: what is wrong,
where, and what to do.
"""

from enum import Enum


class Code(str, Enum):
    """The kind of a failure, independent of any transport."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    NOT_READY = "NOT_READY"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    TOO_LARGE = "TOO_LARGE"
    OVERLOADED = "OVERLOADED"
    RATE_LIMITED = "RATE_LIMITED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"

    def __str__(self) -> str:
        return self.value


class MLSrvError(Exception):
    """A failure with a sentence that may be shown to the caller.

    Subclasses set `code`. Instances can be pickled, so they travel between processes.

    Args:
        parts: the sentence; several, such as the name of a model and a reason, are joined by colons.
    """

    code: Code = Code.INTERNAL

    def __init__(self, *parts: object) -> None:
        super().__init__(": ".join(str(part) for part in parts if part is not None) or type(self).__name__)

    @property
    def reason(self) -> str:
        """The label of the failure in metrics: the code in lower case, unless a subclass is more specific."""
        return self.code.value.lower()


class InvalidPayload(MLSrvError):
    """A request (or, on a client, a response) breaks a rule of the protocol."""

    code = Code.INVALID_ARGUMENT


class InvalidOutput(MLSrvError):
    """A model returned a response that no wire form can carry: wrong count, unsupported type, value out of
    range.
    """

    code = Code.INTERNAL
