"""Instance: one loaded version of a model, and the way of its requests: admission, deadline, pipeline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter_ns
from typing import Any, TypeVar, overload

from mlsrv.context import CallContext
from mlsrv.dataplane.admission import Admission, size_of_arguments
from mlsrv.dataplane.model_meter import ModelMeter
from mlsrv.dataplane.pipeline import compile_call, compile_infer, compile_stream, observed_stream
from mlsrv.dataplane.schedule_policy import apply_schedule
from mlsrv.dataplane.statistics import Statistics, rows_of
from mlsrv.dataplane.time_limit import Running, StreamTime, TimeLimit
from mlsrv.errors import DeadlineExceeded, MLSrvError, Overloaded, RateLimited
from mlsrv.handlers import Arguments
from mlsrv.interceptor import Interceptor
from mlsrv.placement import Placement
from mlsrv.settings import ModelSettings
from mlsrv.utils import closing
from mlsrv_hosting_kit.timeline import Timeline
from mlsrv_protocol.encoded import EncodedRequest, EncodedResponse
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_protocol.workload import size_in_turns, size_of

logger = logging.getLogger("mlsrv.models")

LONGEST_RETRY = 60.0
"""Seconds after which a client that was refused is asked to try again, at most."""

_T = TypeVar("_T")
_END: Any = object()


class Instance:
    """One loaded instance of a model: a placement and the pipeline compiled around it.

    Args:
        settings: the resolved settings that it was loaded with.
        placement: where it is.
        interceptors: entered already, outermost first.
        stack: left by `close`: leaves the interceptors and unloads the placement.
        admission: what may be waiting or running at once.
        statistics: counts requests and executions.
        meter: records them with the meters of the kernel, if there are any.
        request_timeout: seconds that a request may take, or None.

    Attributes:
        takes_encoded: whether `infer` takes encoded requests, because nothing before the placement looks into
            them. They count the bytes of their JSON until they are answered.
    """

    def __init__(
        self,
        settings: ModelSettings,
        placement: Placement,
        interceptors: Sequence[Interceptor],
        stack: AsyncExitStack,
        admission: Admission,
        statistics: Statistics | None = None,
        meter: ModelMeter | None = None,
        request_timeout: float | None = None,
    ) -> None:
        self.settings = settings
        self._name, self._version = settings.name, settings.version
        self.placement = placement
        self.interceptors = tuple(interceptors)
        self._admission = admission
        self._statistics = statistics or Statistics()
        self._meter = meter
        self._limit = None if request_timeout is None else TimeLimit(request_timeout)
        self._observed = meter is not None or any(interceptor.observes for interceptor in interceptors)
        # Without interceptors, a request and its execution last equally long.
        self._is_bare = not interceptors
        skipped = all(interceptor.skips_encoded for interceptor in interceptors)
        self.takes_encoded = placement.takes_encoded and skipped and not admission.is_tight
        self._infer = (
            compile_infer(interceptors, self._statistics.measured(placement.infer))
            if interceptors
            else placement.infer
        )
        self._stream = compile_stream(interceptors, placement)
        self._call = compile_call(interceptors, placement)
        if meter is not None:
            self._stream = partial(meter.stream, self._stream)
        if self._observed:
            self._stream = observed_stream(self._stream)
        self._stack = stack
        self._idle: asyncio.Event | None = None

    @property
    def in_flight(self) -> int:
        """Requests that are waiting or running now."""
        return self._admission.requests

    @overload
    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse: ...

    @overload
    async def infer(self, request: EncodedRequest, context: CallContext) -> EncodedResponse | None: ...

    async def infer(
        self, request: InferenceRequest | EncodedRequest, context: CallContext
    ) -> InferenceResponse | EncodedResponse | None:
        """Answer one request within its schedule; its context gets the model's name and version. The answer
        to an encoded one is None if it is not valid."""
        context.model, context.version = self._name, self._version
        size: int | None
        if isinstance(request, EncodedRequest):
            size, rows = len(request.body), 0
        else:
            if request.parameters is not None:
                apply_schedule(request, context)
            size, rows = size_of(request.inputs), rows_of(request)
            if size is None:
                size = await size_in_turns(request.inputs)
        try:
            self._admission.enter(size, context.principal)
        except MLSrvError as error:
            raise self._refused(error)  # noqa: B904  # it is that error
        if self._observed:
            # Model code may call another model with its own context, whose timeline must stay its own.
            outer = context.timeline, context.batches
            context.timeline, context.batches = Timeline(), ()
        started = perf_counter_ns()
        deadline = context.deadline
        limit = self._limit if self._limit is not None and self._limit.start(context) else None
        try:
            answer: Awaitable[InferenceResponse | EncodedResponse | None]
            if isinstance(request, EncodedRequest):
                answer = self.placement.infer_encoded(request, context)
            else:
                answer = self._infer(request, context)
            if limit is None and deadline is not None:
                answer = self._in_time(answer, context)
            response = await answer
        except BaseException as error:
            late = limit is not None and limit.stop(context) and isinstance(error, asyncio.CancelledError)
            if late:
                error = self._late(context)
            ns = perf_counter_ns() - started
            self._statistics.failed(ns)
            if self._meter is not None:
                received = request.tensor_bytes() if isinstance(request, EncodedRequest) else size
                self._meter.failed(error, context, ns, received)
            if late:
                raise error from None
            if isinstance(error, asyncio.CancelledError):
                context.cancel()
            raise
        else:
            if limit is not None:
                limit.stop(context)
            ns = perf_counter_ns() - started
            if response is None or isinstance(response, EncodedResponse):
                self._count_encoded(response, context, ns)
                return response
            self._statistics.answered(ns, rows, self._is_bare)
            if self._meter is not None:
                sent = size_of(response.outputs)
                if sent is None:
                    sent = await size_in_turns(response.outputs)
                self._meter.answered(context.timeline, ns, size, sent)
            return response
        finally:
            if self._observed:
                context.timeline, context.batches = outer
            if limit is not None and not context.given_up:
                context.deadline = deadline
            self._admission.leave(size, context.principal)
            if self._idle is not None:
                self._left()

    def _count_encoded(self, response: EncodedResponse | None, context: CallContext, ns: int) -> None:
        if response is None:
            return  # it was no valid request
        self._statistics.answered(ns, response.rows, executed=True)
        if self._meter is not None:
            self._meter.answered(context.timeline, ns, response.received, response.sent)

    async def stream(
        self,
        requests: AsyncIterator[InferenceRequest],
        context: CallContext,
        first: InferenceRequest | None = None,
    ) -> AsyncIterator[InferenceResponse]:
        """Answer a stream. Its first request, if known, has its schedule, and its bytes count for the whole
        stream."""
        context.model, context.version = self._name, self._version
        size = 0
        if first is not None:
            apply_schedule(first, context)
            size = await size_in_turns(first.inputs)
        try:
            self._admission.enter(size, context.principal)
        except MLSrvError as error:
            raise self._refused(error)  # noqa: B904  # it is that error
        steps = None if self._limit is None else StreamTime(self._limit)
        if steps is not None:
            requests = steps.requests(requests)
        try:
            async with closing(self._stream(requests, context)) as responses:
                try:
                    while True:
                        coming: Awaitable[InferenceResponse] = anext(responses, _END)
                        if context.deadline is not None:
                            coming = self._in_time(coming, context)
                        if steps is not None:
                            coming = self._step_within(steps, coming, context)
                        response = await coming
                        if response is _END:
                            return
                        context.check()
                        yield response
                except (asyncio.CancelledError, GeneratorExit):
                    context.cancel()
                    raise
        finally:
            self._leave(size, context)

    async def call(self, method: str, arguments: Arguments, context: CallContext) -> Any:
        """Call a custom handler; see `Placement.call`."""
        context.model, context.version = self._name, self._version
        size = size_of_arguments(arguments)
        try:
            self._admission.enter(size, context.principal)
        except MLSrvError as error:
            raise self._refused(error)  # noqa: B904  # it is that error
        outer, deadline = (context.timeline, context.batches), context.deadline
        if self._observed:
            context.timeline, context.batches = Timeline(), ()
        try:
            return await self._within(self._call(method, arguments, context), context)
        except asyncio.CancelledError:
            context.cancel()
            raise
        finally:
            context.timeline, context.batches = outer
            if not context.given_up:
                context.deadline = deadline
            self._leave(size, context)

    async def close(self, grace: float) -> int:
        """Wait up to `grace` seconds for requests in flight, then unload. What fails then is logged.

        Returns:
            How many requests were still running.
        """
        if self.in_flight and grace > 0:
            self._idle = asyncio.Event()
            try:
                async with asyncio.timeout(grace):
                    await self._idle.wait()
            except TimeoutError:
                pass  # the count that is returned tells
        left = self.in_flight
        if self._limit is not None:
            self._limit.close()
        try:
            await self._stack.aclose()
        except Exception:  # plugins may raise anything; everything on the stack was left all the same
            logger.exception("Model %s did not unload cleanly", self.settings.name)
        return left

    def _within(self, answer: Awaitable[_T], context: CallContext) -> Awaitable[_T]:
        """Return an answer that is awaited until the deadline of the client, or the limit of the model."""
        if self._limit is not None and self._limit.start(context):
            return self._limited(answer, context, partial(self._limit.stop, context))
        return answer if context.deadline is None else self._in_time(answer, context)

    async def _limited(self, answer: Awaitable[_T], context: CallContext, stop: Callable[[], bool]) -> _T:
        try:
            return await answer
        except asyncio.CancelledError:
            if not stop():
                raise
            raise self._late(context) from None
        finally:
            stop()

    def _late(self, context: CallContext) -> DeadlineExceeded:
        context.cancel()
        seconds = 0.0 if self._limit is None else self._limit.seconds
        return DeadlineExceeded(
            f"Model {self._name} did not answer request {context.request_id} within its "
            f"request_timeout of {seconds:g} s."
        )

    async def _step_within(self, steps: StreamTime, coming: Awaitable[_T], context: CallContext) -> _T:
        running = steps.start()
        try:
            return await self._limited(coming, context, running.stop)
        except DeadlineExceeded:
            if context.deadline is None:
                context.deadline = running.deadline  # so that executors know that it is late
            raise

    async def _in_time(self, answer: Awaitable[_T], context: CallContext) -> _T:
        running = Running(context.deadline or 0.0, {})
        timer = asyncio.get_running_loop().call_later(context.remaining or 0.0, running.expire)
        try:
            return await answer
        except asyncio.CancelledError:
            if not running.stop():
                raise
            context.cancel()
            raise DeadlineExceeded(
                f"Model {self._name} did not answer before the deadline of request {context.request_id}."
            ) from None
        finally:
            timer.cancel()
            running.stop()

    def _refused(self, error: MLSrvError) -> MLSrvError:
        """Return the error of a request that was not let in, once it is noted."""
        if isinstance(error, Overloaded) and not isinstance(error, RateLimited):
            # As long as a request takes now: by then, those that are in have made room.
            error.retry_after = min(max(self._statistics.success.mean, 1.0), LONGEST_RETRY)
        if self._meter is not None:
            self._meter.refused(error)
        for interceptor in self.interceptors:
            interceptor.refused(error)
        return error

    def _leave(self, size: int, context: CallContext) -> None:
        self._admission.leave(size, context.principal)
        if self._idle is not None:
            self._left()

    def _left(self) -> None:
        if self._idle is not None and not self.in_flight:
            self._idle.set()
