"""Pool: worker processes that all have the same models, and the requests to them."""

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
from mlsrv_workers.ipc import serialization
from mlsrv_workers.ipc.frames import CREDIT_INTERVAL, Frame, FrameKind, dump
from mlsrv_workers.pool.replicated_models import ReplicatedModel, ReplicatedModels
from mlsrv_workers.pool.scheduler import Scheduler
from mlsrv_workers.pool.supervisor import Supervisor
from mlsrv_workers.pool.worker_process import LaunchSpec, PendingCall, PendingStream, WorkerProcess

ASYNC_CONCURRENCY = 64
"""Requests to asynchronous models that one worker runs at once."""

STUCK_AFTER = 1.0
"""Seconds after its deadline at which a request that still runs counts as stuck."""


class Pool:
    """Worker processes that all have the same models.

    Args:
        name: name of the pool, for messages.
        size: number of worker processes.
        launch: how they are started.
        concurrency: requests to synchronous models that one worker runs at once.
        restart_on_deadline: if True, a worker that still runs a request after its deadline is replaced.
        on_queued: called with the number of queued requests at each new request.
        on_end: called with 1 for each worker that ended and is to be replaced.
    """

    def __init__(
        self,
        name: str,
        size: int,
        launch: LaunchSpec,
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
        self._supervisor = Supervisor(
            name,
            size,
            launch,
            on_free=self._on_free,
            prepare=self._prepare,
            on_down=self._on_down,
            on_end=on_end,
        )
        self._scheduler = Scheduler(self._supervisor.alive, (concurrency, ASYNC_CONCURRENCY))
        self._models = ReplicatedModels(self._supervisor, self._on_free, self._on_lost)
        self._deadline_tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start all workers.

        Raises:
            MLSrvError: a worker does not start; all others are stopped then.
        """
        await self._supervisor.start()

    async def stop(self, grace: float) -> None:
        """Stop all workers, and kill those that take longer than `grace` seconds. Idempotent."""
        for task in list(self._deadline_tasks):
            task.cancel()
        self._scheduler.refuse("The server is stopping.")
        await self._supervisor.stop(grace)
        self._scheduler.refuse("The server is stopping.")

    @property
    def pids(self) -> list[int]:
        """Process ids of the running workers."""
        return [worker.pid for worker in self._supervisor.alive.values()]

    @property
    def queued(self) -> int:
        """Number of requests that wait for a worker."""
        return self._scheduler.queued

    @property
    def problem(self) -> str | None:
        """The reason why the whole pool does not work, or None."""
        return self._supervisor.down

    def problem_of(self, model: ReplicatedModel) -> str | None:
        """Return the reason why a model cannot answer now, or None if it can."""
        if self._models.is_served(model):
            return None
        return (
            model.problem
            or f"no worker of the pool {self.name} serves it now{self._supervisor.failure_reasons}"
        )

    async def load(self, settings: ModelSettings) -> ReplicatedModel:
        """Load a model on every worker.

        Raises:
            MLSrvError: the load fails on a worker; the model is unloaded from all workers then.
        """
        return await self._models.load(settings)

    async def unload(self, model: ReplicatedModel) -> None:
        """Unload a model from every worker. Idempotent."""
        await self._models.unload(model)

    # --- requests -------------------------------------------------------------------------------------------

    async def infer(
        self, model: ReplicatedModel, request: InferenceRequest, context: CallContext
    ) -> InferenceResponse:
        """Answer one request."""
        buffers: serialization.Buffers = []
        payload = serialization.dump_request(request, buffers)
        frame = await self._run(FrameKind.INFER, model, (payload,), context, buffers)
        answer, spans = frame.payload()
        serialization.load_timeline(spans, context)
        return serialization.load_response(answer, frame.buffers)

    async def call(
        self, model: ReplicatedModel, method: str, arguments: Arguments, context: CallContext
    ) -> Any:
        """Call a custom handler."""
        payload = arguments if isinstance(arguments, HandlerRequest) else dict(arguments)
        frame = await self._run(FrameKind.CALL, model, (method, payload), context)
        try:
            return frame.payload()
        except Exception as error:  # its class may exist in the worker only
            raise MLSrvError(
                f"Model {model.name}: the result of {method} cannot be sent to the server: {error}"
            ) from error

    async def _run(
        self,
        kind: FrameKind,
        model: ReplicatedModel,
        values: tuple[Any, ...],
        context: CallContext,
        buffers: serialization.Buffers | None = None,
    ) -> Frame:
        body = _pack_call(model, values, context)
        worker = self._reserve(model, context) or await self._wait(model, context)
        pending = PendingCall(model.slot, context)
        call = worker.begin(kind, pending, body, buffers)
        try:
            return await pending.future
        except asyncio.CancelledError:
            self._cancel(worker, call, context)
            raise

    async def stream(
        self, model: ReplicatedModel, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        """Answer a stream. The consumer's pace limits the worker, and the worker's limits the producer."""
        body = _pack_call(model, (), context)
        worker = self._reserve(model, context) or await self._wait(model, context)
        pending = PendingStream(model.slot, context)
        call = worker.begin(FrameKind.STREAM, pending, body)
        feeder = asyncio.create_task(_feed(worker, call, pending, requests))
        consumed = 0
        try:
            while (frame := await pending.items.get()) is not None:
                yield serialization.load_response(frame.payload(), frame.buffers)
                consumed += 1
                if consumed % CREDIT_INTERVAL == 0:
                    worker.send_to_call(FrameKind.STREAM_CREDIT, call, dump(CREDIT_INTERVAL))
            if feeder.done() and not feeder.cancelled() and feeder.exception() is not None:
                await feeder
            serialization.load_timeline((await pending.future).payload(), context)
        finally:
            # First, because another cancellation may interrupt the wait below.
            self._cancel(worker, call, context)
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)

    # --- inside ---------------------------------------------------------------------------------------------

    def _reserve(self, model: ReplicatedModel, context: CallContext) -> WorkerProcess | None:
        """Reserve a slot of a worker at once, or return None if the request has to wait for one."""
        self._on_queued(float(self._scheduler.queued))
        worker = self._scheduler.reserve(model.id, model.slot, context)
        if worker is not None:
            context.worker = worker.number
            if context.timeline is not None:
                now = monotonic_ns()
                context.timeline.add("queue", now, now)
        return worker

    async def _wait(self, model: ReplicatedModel, context: CallContext) -> WorkerProcess:
        """Reserve a slot of a worker as soon as one is free."""
        started_at = monotonic_ns()
        try:
            worker = await self._scheduler.reserve_later(
                model.id, model.slot, context, partial(self._refusal, model)
            )
        finally:
            if context.timeline is not None:
                context.timeline.add("queue", started_at, monotonic_ns())
        context.worker = worker.number
        return worker

    def _refusal(self, model: ReplicatedModel) -> str | None:
        """Return the reason why waiting for a worker is useless, or None."""
        if self._supervisor.stopping:
            return "The server is stopping."
        problem = model.problem or self._supervisor.down
        if not problem or self.problem_of(model) is None:
            return None
        return f"Model {model.name} is not ready: {problem}"

    def _cancel(self, worker: WorkerProcess, call: int, context: CallContext) -> None:
        if not worker.is_running(call):
            return
        worker.cancel(call)
        if self._restart_on_deadline and context.deadline is not None and not self._supervisor.stopping:
            task = asyncio.create_task(_restart_if_stuck(worker, call, context))
            self._deadline_tasks.add(task)
            task.add_done_callback(self._deadline_tasks.discard)

    def _on_free(self) -> None:
        self._scheduler.serve()

    async def _prepare(self, worker: WorkerProcess) -> None:
        await self._models.catch_up(worker)

    def _on_down(self, reason: str) -> None:
        self._scheduler.refuse(reason)

    def _on_lost(self, model: ReplicatedModel, reason: str) -> None:
        self._scheduler.refuse(reason, model.id)


def _pack_call(model: ReplicatedModel, values: tuple[Any, ...], context: CallContext) -> bytes:
    """Pickle a call, before a slot is reserved: parameters and arguments may fail to pickle."""
    try:
        return dump((model.id, *values, serialization.dump_context(context)))
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
            buffers: serialization.Buffers = []
            body = dump(serialization.dump_request(request, buffers))
            worker.send_to_call(FrameKind.STREAM_INPUT, call, body, buffers)
    except Exception:
        # An interceptor or the transport refused a request: its error ends the stream.
        worker.cancel(call)
        raise
    worker.send_to_call(FrameKind.STREAM_INPUT, call, dump(None))


async def _restart_if_stuck(worker: WorkerProcess, call: int, context: CallContext) -> None:
    await asyncio.sleep((context.remaining or 0.0) + STUCK_AFTER)
    if worker.is_running(call):
        worker.kill(
            "The worker process was restarted because a request was still running after its deadline."
        )
