"""Interceptor: stands between transports and one model, to observe, guard, cache or batch requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from enum import IntEnum
from types import TracebackType
from typing import ClassVar, TypeAlias

from attrs import define

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

__all__ = [
    "CallNext",
    "Duration",
    "Interceptor",
    "Phase",
    "StreamNext",
    "UserCodeContext",
    "WholeCall",
]

CallNext: TypeAlias = Callable[[InferenceRequest, CallContext], Awaitable[InferenceResponse]]
StreamNext: TypeAlias = Callable[
    [AsyncIterator[InferenceRequest], CallContext], AsyncIterator[InferenceResponse]
]


class Phase(IntEnum):
    """The order of interceptors, outermost first. Within a phase they are ordered by plugin name."""

    OBSERVE = 10
    GUARD = 20
    CACHE = 30
    BATCH = 40
    EXECUTE = 50
    """Around each execution of the model: a batch is one, with its members in ``context.links``."""


@define
class Duration:
    """A count of events, with the sum of their durations.

    Attributes:
        count: events.
        ns: sum of their durations, in nanoseconds.
    """

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Add one event that took `ns` nanoseconds."""
        self.count += 1
        self.ns += ns

    @property
    def mean(self) -> float:
        """Average duration in seconds; 0 without an event."""
        return self.ns / self.count / 1e9 if self.count else 0.0

    def to_plain(self) -> dict[str, int]:
        """Return the form of the statistics extension."""
        return {"count": self.count, "ns": self.ns}


class Interceptor(ABC):
    """Handles the requests to one model; made once for each load by the hook ``mlsrv_interceptors``.

    It is an async context manager, entered before the model becomes ready and left after the model is
    drained.
    """

    phase: ClassVar[Phase] = Phase.GUARD

    observes: ClassVar[bool] = False
    """True if it reads ``context.timeline`` (see `mlsrv.timeline`).

    If no interceptor of a model does, nothing is measured.
    """

    async def __aenter__(self) -> Interceptor:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def statistics(self) -> Mapping[str, Duration]:
        """Return counts for the model's statistics.

        The keys are names of the statistics extension: ``cache_hit``, ``cache_miss``.
        """
        return {}

    def refused(self, error: MLSrvError) -> None:
        """Note a request that was refused before it came here: one too many, or too large."""
        return None

    @abstractmethod
    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        """Answer the request, in most cases with the result of ``await call_next(request, context)``."""

    def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        """Answer a stream; unless overridden, streams pass unchanged."""
        return call_next(requests, context)


class WholeCall(ABC):
    """A context manager for a whole call, also for a stream.

    It is made once, entered and left for each step of the stream, and closed at the end. Other context
    managers are made for each step.
    """

    @abstractmethod
    def __enter__(self) -> object: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """End the call. Called once."""


UserCodeContext: TypeAlias = Callable[[CallContext], AbstractContextManager[object] | WholeCall]
"""Makes the context manager of one call of user code. It is entered and left in the task of the call, whose
context variables synchronous user code also sees in its thread."""
