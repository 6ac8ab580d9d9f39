"""Interceptor: stands between transports and one model, to observe, guard, cache or batch requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

if TYPE_CHECKING:
    from mlsrv.dataplane.statistics import Duration

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


class Interceptor(ABC):
    """Made once for each load of a model, then called for each request; see the hook ``mlsrv_interceptors``.

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
        """Answer the request, in most cases with what ``await call_next(request, context)`` gives."""

    def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        """Answer a stream; unless overridden, streams pass by."""
        return call_next(requests, context)
