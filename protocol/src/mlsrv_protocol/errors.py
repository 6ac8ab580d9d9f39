"""Errors: the failures that every transport can report.

Tree::

    MLSrvError            code INTERNAL; the base of every error with a sentence for the caller
    ├── InvalidPayload    INVALID_ARGUMENT; what a client sent breaks a rule of the protocol
    ├── InvalidOutput     INTERNAL; what a model returned cannot be sent
    ├── ModelNotFound     NOT_FOUND; unknown model or version
    ├── ModelNotReady     NOT_READY; known, but not loaded (yet)
    ├── ServerNotReady    NOT_READY; the server is starting or stopping
    ├── Overloaded        OVERLOADED; a bounded queue is full
    │   └── RateLimited   RATE_LIMITED; a client asks more often than it may
    ├── Unauthenticated   UNAUTHENTICATED; credentials are missing or wrong
    ├── PermissionDenied  PERMISSION_DENIED; the principal lacks the right
    ├── TooLarge          TOO_LARGE; a request is over the size limit
    ├── DeadlineExceeded  DEADLINE_EXCEEDED; the time that the client gave has passed
    ├── RequestCancelled  CANCELLED; the client went away
    └── Unsupported       UNIMPLEMENTED; the model or the server cannot do this

A transport maps `Code` to its own status in one table. `str(error)` is a whole sentence: what is wrong,
where, and what to do.
"""

from __future__ import annotations

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


class ModelNotFound(MLSrvError):
    """No model of this name, or no such version of it, is known."""

    code = Code.NOT_FOUND

    @classmethod
    def of(cls, name: str, version: str | None = None) -> ModelNotFound:
        """Return the error for an unknown model, or an unknown version of it."""
        return cls(f"{model_of(name, version)} not found")


class ModelNotReady(MLSrvError):
    """The model is known, but not READY: still loading, unloaded, or failed."""

    code = Code.NOT_READY

    @classmethod
    def of(cls, name: str, version: str | None, state: str, reason: str = "") -> ModelNotReady:
        """Return the error for a model in a state in which it cannot answer, with the reason."""
        because = f": {reason}" if reason else ""
        return cls(f"{model_of(name, version)} is not ready ({state}){because}")


class ServerNotReady(MLSrvError):
    """The server does not take requests now: it is starting or stopping."""

    code = Code.NOT_READY


class Overloaded(MLSrvError):
    """A bounded queue is full; the client may try again after `retry_after` seconds."""

    code = Code.OVERLOADED
    reason = "overloaded"
    retry_after: float = 1.0

    @classmethod
    def of(cls, what: str, full: str, reason: str) -> Overloaded:
        """Return the error of a full limit.

        `full` says what fills it (``"8 requests"``); `reason` is a label of the metric.
        """
        made = cls(f"{what} is overloaded: {full} are already waiting or running; try again later.")
        made.reason = reason
        return made


class RateLimited(Overloaded):
    """A principal asks more often, or has more in flight, than its limits allow; it may try again after
    `retry_after` seconds."""

    code = Code.RATE_LIMITED
    reason = "rate_limited"

    @classmethod
    def by(cls, principal: str, limit: str, retry_after: float = 1.0) -> RateLimited:
        """Return the error for a limit of a principal, such as ``"5 requests per second"``."""
        made = cls(f"{_clip(principal)} is limited to {limit}; try again later.")
        made.retry_after = retry_after
        return made


class Unauthenticated(MLSrvError):
    """The request has no credentials, or wrong ones."""

    code = Code.UNAUTHENTICATED


class PermissionDenied(MLSrvError):
    """The principal of the request may not do this."""

    code = Code.PERMISSION_DENIED

    @classmethod
    def of(cls, principal: str, action: str, model: str | None = None) -> PermissionDenied:
        """Return the error for a right that a principal lacks."""
        where = f" for model {_clip(model)}" if model is not None else ""
        return cls(f"{_clip(principal)} has no right {action}{where}.")


class TooLarge(MLSrvError):
    """A request is larger than the server takes."""

    code = Code.TOO_LARGE

    @classmethod
    def of(cls, limit: int) -> TooLarge:
        """Return the error for a body of more than `limit` bytes."""
        return cls(f"The request body is larger than the limit of {limit} bytes.")


class DeadlineExceeded(MLSrvError):
    """The deadline of the request passed before an answer was there."""

    code = Code.DEADLINE_EXCEEDED


class RequestCancelled(MLSrvError):
    """The client, or the server while it stops, gave the request up."""

    code = Code.CANCELLED


class Unsupported(MLSrvError):
    """The operation exists in the protocol, but not for this model or server."""

    code = Code.UNIMPLEMENTED


def model_of(name: str, version: str | None) -> str:
    """Return how sentences name a model; a client may ask for a name of any length."""
    return f"Model {_clip(name)} with version {_clip(version)}" if version else f"Model {_clip(name)}"


def _clip(name: str) -> str:
    return name if len(name) <= 200 else name[:200] + "…"


def text_of(error: BaseException) -> str:
    """Return the text of an exception of any code; its ``__str__`` may raise, too."""
    try:
        return str(error)
    except BaseException as broken:  # whatever it is, it is no reason to leave the caller without an answer
        return f"its text cannot be had ({type(broken).__name__})"
