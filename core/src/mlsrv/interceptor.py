"""Interceptor: stands between transports and one model, to observe, guard, cache or batch requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from enum import IntEnum
from types import TracebackType
from typing import Any, ClassVar, TypeAlias

from attrs import define

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, PluginError
from mlsrv.handlers import Arguments
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, Parameters

__all__ = [
    "CallNext",
    "Duration",
    "HandlerNext",
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
HandlerNext: TypeAlias = Callable[[str, Arguments, CallContext], Awaitable[Any]]


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

    A class that overrides `__call__` alone sees every stream and every call of a custom handler there, too,
    so that what it refuses is refused whichever way a client asks; see `stream` and `call`.
    """

    phase: ClassVar[Phase] = Phase.GUARD

    observes: ClassVar[bool] = False
    """True if it reads ``context.timeline`` (see `mlsrv.timeline`).

    If no interceptor of a model does, nothing is measured.
    """

    infer_only: ClassVar[bool] = False
    """True if it concerns single requests alone.

    Streams and custom handlers then pass by it, as far as it does not override `stream` and `call`. So they
    pass by every cache and every batcher (phases CACHE and BATCH).
    """

    skips_encoded: ClassVar[bool] = False
    """True if it has nothing to do for a `mlsrv_protocol.encoded.EncodedRequest`, which has no parameters and
    is compared with the declared tensors where the model is.

    Such requests pass by it if that is true of all interceptors of the model; otherwise they are decoded.
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
        """Answer a stream.

        Unless overridden, `__call__` gets its first request, and from ``call_next`` its first response. Later
        requests and responses pass unchanged.
        """
        if passed_by(self):
            return call_next(requests, context)
        return _stream_through(self, requests, context, call_next)

    async def call(
        self, method: str, arguments: Arguments, context: CallContext, call_next: HandlerNext
    ) -> Any:
        """Answer a call of a custom handler, in most cases with the result of
        ``await call_next(method, arguments, context)``.

        Unless overridden, `__call__` gets a request without inputs, with id, model and headers of the call,
        and from ``call_next`` a response without outputs; the handler's result passes unchanged.

        Args:
            method: name of the handler's attribute.
            arguments: of the handler, or the request of a transport (see `mlsrv.handlers`).
        """
        if passed_by(self):
            return await call_next(method, arguments, context)
        return await _call_through(self, method, arguments, context, call_next)


def passed_by(interceptor: Interceptor) -> bool:
    """Return whether streams and custom handlers pass by what the interceptor does not override."""
    return interceptor.infer_only or interceptor.phase in (Phase.CACHE, Phase.BATCH)


async def _stream_through(
    interceptor: Interceptor,
    requests: AsyncIterator[InferenceRequest],
    context: CallContext,
    call_next: StreamNext,
) -> AsyncIterator[InferenceResponse]:
    responses: AsyncIterator[InferenceResponse] | None = None
    no_response: InferenceResponse | None = None

    async def begin(request: InferenceRequest, context: CallContext) -> InferenceResponse:
        nonlocal responses, no_response
        await _close(responses)  # of an attempt before this one
        responses = call_next(_with_first(request, requests), context)
        found = await anext(responses, None)
        if found is None:
            found = no_response = InferenceResponse(request.model_name, [], id=request.id)
        return found

    first = await anext(requests, None)
    if first is None:
        return
    try:
        answer = await interceptor(first, context, begin)
        if answer is not no_response:
            yield answer
        if responses is not None:
            async for response in responses:
                yield response
    finally:
        await _close(responses)


async def _with_first(
    first: InferenceRequest, rest: AsyncIterator[InferenceRequest]
) -> AsyncIterator[InferenceRequest]:
    yield first
    async for request in rest:
        yield request


async def _close(responses: AsyncIterator[InferenceResponse] | None) -> None:
    close = getattr(responses, "aclose", None)
    if close is not None:
        await close()


async def _call_through(
    interceptor: Interceptor, method: str, arguments: Arguments, context: CallContext, call_next: HandlerNext
) -> Any:
    results: list[Any] = []

    async def run(request: InferenceRequest, context: CallContext) -> InferenceResponse:
        results[:] = [await call_next(method, arguments, context)]
        return InferenceResponse(request.model_name, [], id=request.id)

    request = InferenceRequest(
        [],
        model_name=context.model,
        model_version=context.version,
        id=context.request_id,
        parameters=Parameters(headers=dict(context.headers)),
    )
    await interceptor(request, context, run)
    if not results:
        raise PluginError(
            f"{type(interceptor).__name__} answers the custom handler {method} of model {context.model} by "
            "itself; it must override `call`, or say `infer_only = True`."
        )
    return results[0]


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
