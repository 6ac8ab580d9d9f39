"""Pool: worker processes that all have the same models, and the requests to them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from time import monotonic_ns
from typing import Any

from attrs import frozen

from mlsrv.context import CallContext
from mlsrv.handlers import Arguments, HandlerRequest
from mlsrv.metrics import ProcessMetric, Recorder, nothing
from mlsrv.settings import ModelSettings
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.plain_values import dump
from mlsrv_protocol.encoded import EncodedRequest, EncodedResponse
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_workers.ipc.frames import CREDIT_INTERVAL, Frame, FrameKind
from mlsrv_workers.pool.answers import add_spans, encoded_of, read, response_of, result_of
from mlsrv_workers.pool.crashes import PERIOD, Crashes
from mlsrv_workers.pool.launch_spec import LaunchSpec
from mlsrv_workers.pool.packing import pack_call, pack_input, pack_request
from mlsrv_workers.pool.pending_calls import PendingCall, PendingStream
from mlsrv_workers.pool.replicated_models import ReplicatedModel, ReplicatedModels
from mlsrv_workers.pool.scheduler import Scheduler
from mlsrv_workers.pool.slot import Slot
from mlsrv_workers.pool.supervisor import Supervisor, SupervisorEvents
from mlsrv_workers.pool.watchdog import Watchdog
from mlsrv_workers.pool.worker_process import WorkerProcess

logger = logging.getLogger("mlsrv.workers")

ASYNC_CONCURRENCY = 64
"""Requests to asynchronous models that one worker runs at once."""

SHORT_CONCURRENCY = 16
"""Requests to synchronous models whose calls are short that one worker has at once; they run one by one."""

STUCK_AFTER = 1.0
"""Seconds after its deadline at which a request that still runs counts as stuck."""


@frozen
class PoolOptions:
    """Limits of the workers of a pool.

    Attributes:
        concurrency: requests to synchronous models that one worker runs at once.
        short_calls: whether calls that have shown to be short run on the event loop of their worker.
        restart_on_deadline: if True, a worker is replaced as soon as a request is overdue in it; if False,
            once overdue requests take all its slots of one kind.
        abandoned_timeout: seconds after which a request that still runs counts as overdue though its
            deadline has not passed, because its client has left; None waits for the deadline.
        heartbeat: seconds in which the event loop of a worker must answer, or None.
        max_requests: number of requests after which a worker is replaced, or None.
        max_memory: resident bytes above which a worker is replaced, or None.
        isolated: True for the pool of one model whose requests keep ending workers: no request waits while
            it has no worker, and its workers are replaced after growing delays.
    """

    concurrency: int = 2
    short_calls: bool = True
    restart_on_deadline: bool = False
    abandoned_timeout: float | None = 10.0
    heartbeat: float | None = 30.0
    max_requests: int | None = None
    max_memory: int | None = None
    isolated: bool = False


class Pool:
    """Worker processes that all have the same models.

    Args:
        name: name of the pool, for messages.
        size: number of worker processes.
        launch: how they are started.
        options: limits of the workers.
        on_queued: called with the number of queued requests at each new request.
        on_end: called with 1 for each worker that ended and is to be replaced.
        on_crashing: called with the id of a model whose requests keep ending workers.
    """

    def __init__(
        self,
        name: str,
        size: int,
        launch: LaunchSpec,
        options: PoolOptions,
        *,
        on_queued: Recorder = nothing,
        on_end: Recorder = nothing,
        on_crashing: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.size = size
        self._options = options
        self._on_queued = on_queued
        self._on_crashing = on_crashing
        self._crashes = Crashes()
        self._limits = (options.concurrency, ASYNC_CONCURRENCY, SHORT_CONCURRENCY)
        # Where one request at a time is asked for, no other may be in the worker.
        self._has_short_calls = options.short_calls and options.concurrency > 1
        self._supervisor = Supervisor(
            name,
            size,
            launch,
            SupervisorEvents(self._on_free, self._prepare, self._on_down, self._on_crashed, on_end),
            max_requests=options.max_requests,
            cautious=options.isolated,
        )
        self._watchdog = Watchdog(self._supervisor, options.heartbeat, options.max_memory)
        self._watching: asyncio.Task[None] | None = None
        self._scheduler = Scheduler(self._supervisor.serving, self._limits)
        self._models = ReplicatedModels(self._supervisor, self._on_free, self._on_lost)

    async def start(self) -> None:
        """Start all workers.

        Raises:
            MLSrvError: a worker does not start; all others are stopped then.
        """
        await self._supervisor.start()
        if self._watchdog.needed:
            self._watching = asyncio.create_task(self._watchdog.run(), name=f"mlsrv-watchdog-{self.name}")

    async def stop(self, grace: float) -> None:
        """Stop all workers, and kill those that take longer than `grace` seconds. Idempotent."""
        if self._watching is not None:
            self._watching.cancel()
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
        workers = self._models.workers_of(model)
        if any(not self._watchdog.is_lost(worker) for worker in workers):
            return None
        if workers:
            return f"no worker of the pool {self.name} that has it answers now"
        return (
            model.problem
            or f"no worker of the pool {self.name} serves it now{self._supervisor.failure_reasons}"
        )

    @property
    def counts(self) -> dict[str, int]:
        """Number of workers by state: alive, stuck (alive, but taking no requests), missing."""
        alive, serving = len(self._supervisor.alive), len(self._supervisor.serving)
        return {"alive": serving, "stuck": alive - serving, "missing": max(0, self.size - alive)}

    @property
    def overdue(self) -> int:
        """Number of requests that run on after their deadline, or long after their client has left."""
        return sum(worker.overdue(slot) for worker in self._supervisor.alive.values() for slot in Slot)

    async def load(self, settings: ModelSettings) -> ReplicatedModel:
        """Load a model on every worker. Workers that are stuck are replaced.

        Raises:
            MLSrvError: the load fails on a worker; the model is unloaded from all workers then.
        """
        for worker in list(self._supervisor.alive.values()):
            if worker.pid not in self._supervisor.serving or any(map(worker.overdue, Slot)):
                self._supervisor.replace(worker, "it was stuck when a model was loaded")
        return await self._models.load(settings)

    async def load_again(self, model: ReplicatedModel) -> ReplicatedModel:
        """Load a model of another pool just as it was loaded there. Raises as `load` does."""
        return await self._models.load_again(model)

    async def unload(self, model: ReplicatedModel) -> None:
        """Unload a model from every worker. Idempotent."""
        self._crashes.forget(model.id)
        self._find_suspects()
        await self._models.unload(model)

    # --- requests -------------------------------------------------------------------------------------------

    async def infer(
        self, model: ReplicatedModel, request: InferenceRequest, context: CallContext
    ) -> InferenceResponse:
        """Answer one request."""
        buffers: serialization.Buffers = []
        body = await pack_request(model, request, context, buffers)
        frame = await self._run(FrameKind.INFER, model, body, context, buffers)
        return await read(response_of, frame, context)

    async def infer_encoded(
        self, model: ReplicatedModel, request: EncodedRequest, context: CallContext
    ) -> EncodedResponse | None:
        """Answer one request that is decoded in the worker; None if it is not valid."""
        body = pack_call(model, (request.body, request.model_name, request.model_version), context)
        frame = await self._run(FrameKind.INFER_ENCODED, model, body, context)
        return await read(encoded_of, frame, context)

    async def process_metrics(self) -> dict[int, list[ProcessMetric] | None]:
        """Return the metrics that code in the workers made with `prometheus_client` alone, by process id."""
        workers = dict(self._supervisor.alive)
        found = await asyncio.gather(*(worker.process_metrics() for worker in workers.values()))
        return dict(zip(workers, found, strict=True))

    async def call(
        self, model: ReplicatedModel, method: str, arguments: Arguments, context: CallContext
    ) -> Any:
        """Call a custom handler."""
        payload = arguments if isinstance(arguments, HandlerRequest) else dict(arguments)
        body = pack_call(model, (method, payload), context)
        frame = await self._run(FrameKind.CALL, model, body, context)
        return await read(result_of, frame)

    async def _run(
        self,
        kind: FrameKind,
        model: ReplicatedModel,
        body: bytes,
        context: CallContext,
        buffers: serialization.Buffers | None = None,
    ) -> Frame:
        slot = model.slot if kind is FrameKind.CALL else self._slot(model)
        worker = self._reserve(model, slot, context) or await self._wait(model, slot, context)
        pending = PendingCall(slot, context, model.id)
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
        body = pack_call(model, (), context)
        worker = self._reserve(model, model.slot, context) or await self._wait(model, model.slot, context)
        pending = PendingStream(model.slot, context, model.id)
        call = worker.begin(FrameKind.STREAM, pending, body)
        feeder = asyncio.create_task(_feed(worker, call, pending, requests))
        consumed = 0
        try:
            while (frame := await pending.items.get()) is not None:
                yield await read(response_of, frame)
                consumed += 1
                if consumed % CREDIT_INTERVAL == 0:
                    worker.send_to_call(FrameKind.STREAM_CREDIT, call, dump(CREDIT_INTERVAL))
            if feeder.done() and not feeder.cancelled() and feeder.exception() is not None:
                await feeder
            add_spans(await pending.future, context)
        finally:
            # First, because another cancellation may interrupt the wait below.
            self._cancel(worker, call, context)
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)

    # --- inside ---------------------------------------------------------------------------------------------

    def _slot(self, model: ReplicatedModel) -> Slot:
        """Return the kind of slot that a request takes."""
        workers = self._supervisor.serving
        if model.slot is not Slot.SYNCHRONOUS or not self._has_short_calls or not workers:
            return model.slot
        for worker in workers.values():
            if model.id not in worker.short:
                return model.slot
        return Slot.SHORT

    def _reserve(self, model: ReplicatedModel, slot: Slot, context: CallContext) -> WorkerProcess | None:
        """Reserve a slot of a worker at once, or return None if the request has to wait for one."""
        self._on_queued(float(self._scheduler.queued))
        worker = self._scheduler.reserve(model.id, slot, context)
        if worker is not None:
            context.worker = worker.number
            if context.timeline is not None:
                now = monotonic_ns()
                context.timeline.add("queue", now, now)
        return worker

    async def _wait(self, model: ReplicatedModel, slot: Slot, context: CallContext) -> WorkerProcess:
        """Reserve a slot of a worker as soon as one is free."""
        started_at = monotonic_ns()
        try:
            worker = await self._scheduler.reserve_later(
                model.id, slot, context, partial(self._refusal, model)
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
        if self._options.isolated:
            problem = problem or f"its process has ended{self._supervisor.failure_reasons}"
        if not problem or self.problem_of(model) is None:
            return None
        return f"Model {model.name} is not ready: {problem}"

    def _cancel(self, worker: WorkerProcess, call: int, context: CallContext) -> None:
        if not worker.is_running(call):
            return
        worker.cancel(call)
        loop = asyncio.get_running_loop()
        if self._options.abandoned_timeout is not None:
            loop.call_later(self._options.abandoned_timeout, self._check_overdue, worker, call, context)
        if context.remaining is not None:
            loop.call_later(context.remaining + STUCK_AFTER, self._check_overdue, worker, call, context)

    def _check_overdue(self, worker: WorkerProcess, call: int, context: CallContext) -> None:
        """Mark a request that was given up and still runs, and replace its worker if that cannot go on."""
        model = worker.mark_overdue(call)
        if model is None or worker.over.is_set() or self._supervisor.stopping:
            return
        logger.warning(
            "Request %s to the model %s still runs in worker %d of the pool %s, though it was given up",
            context.request_id,
            context.model,
            worker.number,
            self.name,
        )
        if self._options.restart_on_deadline and context.remaining == 0.0:
            self._supervisor.replace(worker, "a request was still running after its deadline")
        elif self._has_no_slot_left(worker):
            self._supervisor.replace(worker, "requests that were given up took all its slots")
        else:
            worker.ping()
            asyncio.get_running_loop().call_later(STUCK_AFTER, self._check_blocked, worker, call)

    def _has_no_slot_left(self, worker: WorkerProcess) -> bool:
        """Return True if requests that were given up take all slots of one kind."""
        synchronous, asynchronous, short = (worker.overdue(slot) for slot in Slot)
        # A call that was short may have moved to a thread since.
        return synchronous + short >= self._limits[Slot.SYNCHRONOUS] or (
            asynchronous >= self._limits[Slot.ASYNCHRONOUS]
        )

    def _check_blocked(self, worker: WorkerProcess, call: int) -> None:
        """Replace a worker if a request that was given up blocks its event loop, as a short call may."""
        if worker.over.is_set() or self._supervisor.stopping or not worker.is_running(call):
            return
        if worker.silent_for >= STUCK_AFTER / 2 and not worker.loading:
            self._supervisor.replace(worker, "a request that was given up blocks its event loop")

    def _on_free(self) -> None:
        self._scheduler.serve()

    async def _prepare(self, worker: WorkerProcess) -> None:
        await self._models.catch_up(worker)

    def _on_crashed(self, worker: WorkerProcess) -> None:
        if self._options.isolated:
            self._on_down(f"Its process has ended: {worker.reason}")
            return
        if self._models.count == 1:
            return
        loop = asyncio.get_running_loop()
        model = self._crashes.add(worker.running_at_end, loop.time())
        if model is not None:
            self._on_crashing(model)
        self._find_suspects()
        loop.call_later(PERIOD + 1.0, self._find_suspects)

    def _find_suspects(self) -> None:
        self._scheduler.suspects = self._crashes.suspects(asyncio.get_running_loop().time())
        self._scheduler.serve()

    def _on_down(self, reason: str) -> None:
        self._scheduler.refuse(reason)

    def _on_lost(self, model: ReplicatedModel, reason: str) -> None:
        self._scheduler.refuse(reason, model.id)


async def _feed(
    worker: WorkerProcess, call: int, pending: PendingStream, requests: AsyncIterator[InferenceRequest]
) -> None:
    try:
        async for request in requests:
            await pending.credit.acquire()
            buffers: serialization.Buffers = []
            body = await pack_input(request, buffers)
            worker.send_to_call(FrameKind.STREAM_INPUT, call, body, buffers)
    except Exception:
        # An interceptor or the transport refused a request: its error ends the stream.
        worker.cancel(call)
        raise
    worker.send_to_call(FrameKind.STREAM_INPUT, call, dump(None))
