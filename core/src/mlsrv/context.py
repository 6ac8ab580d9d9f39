"""Context: the data that travels with a request beside its payload."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from mlsrv.authorization import Principal
from mlsrv.errors import DeadlineExceeded, ModelFailed, PermissionDenied, RequestCancelled
from mlsrv_hosting_kit.timeline import Timeline

if TYPE_CHECKING:
    from mlsrv_protocol.types import InferenceRequest, InferenceResponse

__all__ = ["Batch", "CallContext", "current_context", "new_request_id"]

logger = logging.getLogger("mlsrv.kernel")

DEEPEST_QUESTION = 16  # models that ask one another are a circle by then
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_DIGITS_12 = 1 << 44
"""The least number of 12 hexadecimal digits."""

_prefix = os.urandom(10).hex()
_counter = itertools.count(_DIGITS_12 + int.from_bytes(os.urandom(5), "big"))


def _new_prefix() -> None:
    global _prefix, _counter
    _prefix = os.urandom(10).hex()
    _counter = itertools.count(_DIGITS_12 + int.from_bytes(os.urandom(5), "big"))


os.register_at_fork(after_in_child=_new_prefix)


def new_request_id() -> str:
    """Return a request id of 32 hexadecimal digits, unique across processes, without a system call."""
    return f"{_prefix}{next(_counter):x}"


@frozen(eq=False)
class Batch:
    """Requests that were answered together.

    Attributes:
        contexts: of its members.
        rows: of all members.
    """

    contexts: tuple[CallContext, ...]
    rows: int


@define(slots=True, eq=False)
class CallContext:
    """Travels explicitly with one request through every hop, into other processes too.

    Attributes:
        request_id: the id that the client sees in the response and the operator in the log.
        deadline: `time.monotonic` seconds after which the answer is not awaited any more, or None.
        priority: 0 is the default, 1 the highest, larger numbers are less urgent (OIP schedule policy).
        headers: request headers as the transport received them, names in lower case.
        trace: W3C trace context headers (``traceparent``, ``tracestate``) of the caller; may be empty.
        transport: name of the transport that took the request, ``""`` for an embedding app.
        links: of a batch, the contexts of its members.
        timeline: collects the phases of the request, or None when no interceptor observes it.
        batches: those that an observed request was part of: one, or several if it was cut in pieces.
        model, version: of the model that the kernel handed it to; empty before that.
        principal: who asks, where an authorizer is installed, else None; in a worker process its name alone.
        worker: number of the worker process that it was sent to, or None.
        depth: models that ask for one another before this one; 0 for a request of a client.
        asker: takes requests of the code that answers this one to other models; see `mlsrv.ask`.
        given_up: whether `cancel` was called.
        reported: whether the log has a record of its failure already; see
            `mlsrv.telemetry.request_logging.report`.
    """

    request_id: str = field(factory=new_request_id)
    deadline: float | None = None
    priority: int = 0
    headers: Mapping[str, str] = _NO_HEADERS
    trace: Mapping[str, str] = _NO_HEADERS
    transport: str = ""
    links: Sequence[CallContext] = ()
    timeline: Timeline | None = field(default=None, repr=False)
    batches: tuple[Batch, ...] = field(default=(), init=False, repr=False)
    model: str = field(default="", kw_only=True)
    version: str | None = field(default=None, kw_only=True)
    principal: Principal | None = field(default=None, kw_only=True)
    worker: int | None = field(default=None, kw_only=True)
    depth: int = field(default=0, kw_only=True)
    asker: Asker | None = field(default=None, init=False, repr=False)
    reported: bool = field(default=False, init=False, repr=False)
    given_up: bool = field(default=False, init=False)
    _callbacks: list[Callable[[], None]] | None = field(default=None, init=False, repr=False)

    @classmethod
    def with_timeout(cls, seconds: float, **values: object) -> CallContext:
        """Return a context whose deadline is `seconds` from now."""
        return cls(deadline=time.monotonic() + seconds, **values)  # type: ignore[arg-type]  # fields of this class

    @property
    def cancelled(self) -> bool:
        """True if the request was given up or its deadline has passed.

        Long-running user code may poll it, from any thread.
        """
        return self.given_up or (self.deadline is not None and time.monotonic() >= self.deadline)

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline (0.0 once it has passed), None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def question(self) -> CallContext:
        """Return the context of a question to another model for the sake of this request, given up with it.

        Raises:
            ModelFailed: models ask each other in a circle.
            PermissionDenied: this is a batch of several principals, whose rights may differ.
        """
        if self.depth >= DEEPEST_QUESTION:
            raise ModelFailed(f"Models ask each other in a circle, {self.depth} of them by now.")
        principal, *others = [member.principal for member in self.links] or [self.principal]
        if any(other != principal for other in others):
            raise PermissionDenied("A batch of requests of several principals cannot ask other models.")
        made = CallContext(self.request_id, self.deadline, self.priority, self.headers, self.trace)
        made.transport, made.principal, made.depth = self.transport, principal, self.depth + 1
        self.on_cancel(made.cancel)
        return made

    def cancel(self) -> None:
        """Give the request up. Idempotent; the callbacks run once, in the caller's thread, and one that
        raises is logged."""
        if self.given_up:
            return
        self.given_up = True
        for callback in self._callbacks or ():
            try:
                callback()
            except Exception:
                logger.exception("Cancelling request %s failed in part", self.request_id)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the request is given up; at once if it already is."""
        if self.given_up:
            callback()
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def check(self) -> None:
        """Raise if the request was given up or is late; called before work starts, and between its parts.

        Raises:
            RequestCancelled, DeadlineExceeded
        """
        if self.given_up:
            raise RequestCancelled(f"Request {self.request_id} was cancelled.")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise DeadlineExceeded(f"The deadline of request {self.request_id} has passed.")


Asker = Callable[["InferenceRequest", CallContext], Awaitable["InferenceResponse"]]
"""Takes a question to another model: the request, and the context of the call whose code asks."""

current_context: ContextVar[CallContext | None] = ContextVar("mlsrv_context", default=None)
"""The context of the request that is being answered, for user code: ``current_context.get()``; None outside
one."""
