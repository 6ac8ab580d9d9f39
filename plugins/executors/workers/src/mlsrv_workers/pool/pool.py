"""A pool: worker processes that all have the same models, and the requests to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from time import monotonic_ns
from typing import Any

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, MLSrvError
from mlsrv.handlers import Arguments, HandlerRequest
from mlsrv.metrics import Recorder, nothing
from mlsrv.settings import ModelSettings
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_workers.ipc import serialization as messages
from mlsrv_workers.ipc.frames import STREAM_CREDIT, Frame, Kind, dump
from mlsrv_workers.pool.replicated_models import Loaded, LoadedModels
from mlsrv_workers.pool.scheduler import Dispatcher
from mlsrv_workers.pool.supervisor import Crew
from mlsrv_workers.pool.worker_process import Launch, Pending, PendingStream, WorkerProcess

ASYNC_CONCURRENCY = 64
"""Requests to asynchronous models that one worker has at once."""

STUCK_AFTER = 1.0
"""Seconds after its deadline at which a request that still runs counts as stuck."""


class Pool:
    """Worker processes that all have the same models.

    Args:
        name: for messages.
        size: how many processes.
        launch: how they are started.
        concurrency: requests to synchronous models that one worker has at once.
        restart_on_deadline: whether a worker that does not let go of an expired request is replaced.
        on_queued: told how many requests wait for a worker when one more comes.
        on_end: told of each worker that ended and is to be replaced.
    """

    def __init__(
        self,
        name: str,
        size: int,
        launch: Launch,
        *,
        concurrency: int = 2,
        restart_on_deadline: bool = False,
        on_queued: Recorder = nothing,
        on_end: Recorder = nothing,
    ) -> None:
        self.name = name
        self.size = size
        self._on_queued = on_queued
        self._restart_on_deadline = restart_on_deadline
        self._crew = Crew(
            name,
            size,
            launch,
            on_free=self._on_free,
            prepare=self._prepare,
            on_down=self._on_down,
            on_end=on_end,
        )
        self._dispatcher = Dispatcher(self._crew.living, (concurrency, ASYNC_CONCURRENCY))
        self._models = LoadedModels(self._crew, self._on_free, self._on_lost)
        self._watches: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start all workers. Raises an `MLSrvError` if one does not come up; then none is left."""
        await self._crew.start()

    async def stop(self, grace: float) -> None:
        """End all workers, by force those that take longer than `grace` seconds. Idempotent."""
        for watch in list(self._watches):
            watch.cancel()
        self._dispatcher.refuse("The server is stopping.")
        await self._crew.stop(grace)
        self._dispatcher.refuse("The server is stopping.")

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that live now."""
        return [worker.pid for worker in self._crew.living.values()]

    @property
    def queued(self) -> int:
        """Requests that wait for a worker."""
        return self._dispatcher.queued

    @property
    def problem(self) -> str | None:
        """Why the pool as a whole does not work, or None."""
        return self._crew.down

    def problem_of(self, model: Loaded) -> str | None:
        """Why a model cannot answer now, or None if it can."""
        if self._models.served(model):
            return None
        return model.problem or f"no worker of the pool {self.name} serves it now{self._crew.troubles}"

    async def load(self, settings: ModelSettings) -> Loaded:
        """Load a model on every worker.

        Raises:
            MLSrvError: it fails on one of them; it is unloaded everywhere then.
        """
        return await self._models.load(settings)

    async def unload(self, model: Loaded) -> None:
        """Unload a model from every worker. Idempotent."""
        await self._models.unload(model)

    # --- requests
    # ----------------------------------------------------------------------------------------------

    async def infer(
        self, model: Loaded, request: InferenceRequest, context: CallContext
    ) -> InferenceResponse:
        """Answer one request."""
        buffers: messages.Buffers = []
        plain = messages.dump_request(request, buffers)
        frame = await self._run(Kind.INFER, model, (plain,), context, buffers)
        answer, spans = frame.payload()
        messages.load_timeline(spans, context)
        return messages.load_response(answer, frame.buffers)

    async def call(self, model: Loaded, method: str, arguments: Arguments, context: CallContext) -> Any:
        """Call a custom handler."""
        plain = arguments if isinstance(arguments, HandlerRequest) else dict(arguments)
        frame = await self._run(Kind.CALL, model, (method, plain), context)
        try:
            return frame.payload()
        except Exception as error:  # its class may exist in the worker alone
            raise MLSrvError(
                f"Model {model.name}: what {method} returned cannot be brought to the server: {error}"
            ) from error

    async def _run(
        self,
        kind: Kind,
        model: Loaded,
        values: tuple[Any, ...],
        context: CallContext,
        buffers: messages.Buffers | None = None,
    ) -> Frame:
        body = _body(model, values, context)
        worker = self._reserve(model, context) or await self._wait(model, context)
        pending = Pending(model.info.asynchronous, context)
        call = worker.begin(kind, pending, body, buffers)
        try:
            return await pending.future
        except asyncio.CancelledError:
            self._cancel(worker, call, context)
            raise

    async def stream(
        self, model: Loaded, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        """Answer a stream; the consumer's pace holds the worker back, and the worker's the producer."""
        body = _body(model, (), context)
        worker = self._reserve(model, context) or await self._wait(model, context)
        pending = PendingStream(model.info.asynchronous, context)
        call = worker.begin(Kind.STREAM, pending, body)
        feeding = asyncio.create_task(_feed(worker, call, pending, requests))
        taken = 0
        try:
            while (frame := await pending.items.get()) is not None:
                yield messages.load_response(frame.payload(), frame.buffers)
                taken += 1
                if taken % STREAM_CREDIT == 0:
                    worker.more(Kind.STREAM_CREDIT, call, dump(STREAM_CREDIT))
            if feeding.done() and not feeding.cancelled() and feeding.exception() is not None:
                await feeding
            messages.load_timeline((await pending.future).payload(), context)
        finally:
            # At first, as the wait below may be cut short by another cancellation.
            self._cancel(worker, call, context)
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    # --- inside
    # ------------------------------------------------------------------------------------------------

    def _reserve(self, model: Loaded, context: CallContext) -> WorkerProcess | None:
        """A worker with room that is taken now, or None if the request has to wait for one."""
        self._on_queued(float(self._dispatcher.queued))
        worker = self._dispatcher.reserve(model.id, model.info.asynchronous, context)
        if worker is not None:
            context.worker = worker.number
            if context.timeline is not None:
                now = monotonic_ns()
                context.timeline.add("queue", now, now)
        return worker

    async def _wait(self, model: Loaded, context: CallContext) -> WorkerProcess:
        """A worker with room that is taken now, as soon as there is one."""
        began = monotonic_ns()
        try:
            worker = await self._dispatcher.reserve_later(
                model.id, model.info.asynchronous, context, partial(self._refusal, model)
            )
        finally:
            if context.timeline is not None:
                context.timeline.add("queue", began, monotonic_ns())
        context.worker = worker.number
        return worker

    def _refusal(self, model: Loaded) -> str | None:
        """Why a request need not wait for a worker, or None."""
        if self._crew.stopping:
            return "The server is stopping."
        hopeless = model.problem or self._crew.down
        if not hopeless or self.problem_of(model) is None:
            return None
        return f"Model {model.name} is not ready: {hopeless}"

    def _cancel(self, worker: WorkerProcess, call: int, context: CallContext) -> None:
        if not worker.running_call(call):
            return
        worker.cancel(call)
        if self._restart_on_deadline and context.deadline is not None and not self._crew.stopping:
            watch = asyncio.create_task(_restart_if_stuck(worker, call, context))
            self._watches.add(watch)
            watch.add_done_callback(self._watches.discard)

    def _on_free(self) -> None:
        self._dispatcher.serve()

    async def _prepare(self, worker: WorkerProcess) -> None:
        await self._models.catch_up(worker)

    def _on_down(self, reason: str) -> None:
        self._dispatcher.refuse(reason)

    def _on_lost(self, model: Loaded, reason: str) -> None:
        self._dispatcher.refuse(reason, model.id)


def _body(model: Loaded, values: tuple[Any, ...], context: CallContext) -> bytes:
    """The pickled part of a call. Made before room is reserved: parameters and arguments may be anything."""
    try:
        return dump((model.id, *values, messages.dump_context(context)))
    except Exception as error:
        raise InferenceError(
            f"Model {model.name}: the request cannot be sent to a worker process: {error}"
        ) from error


async def _feed(
    worker: WorkerProcess, call: int, pending: PendingStream, requests: AsyncIterator[InferenceRequest]
) -> None:
    try:
        async for request in requests:
            await pending.credit.acquire()
            buffers: messages.Buffers = []
            body = dump(messages.dump_request(request, buffers))
            worker.more(Kind.STREAM_INPUT, call, body, buffers)
    except Exception:
        # A request was refused on the way (by an interceptor, by the transport): its error is the stream's.
        worker.cancel(call)
        raise
    worker.more(Kind.STREAM_INPUT, call, dump(None))


async def _restart_if_stuck(worker: WorkerProcess, call: int, context: CallContext) -> None:
    await asyncio.sleep((context.remaining or 0.0) + STUCK_AFTER)
    if worker.running_call(call):
        worker.kill("The worker process was restarted, for it was stuck past the deadline of a request.")
