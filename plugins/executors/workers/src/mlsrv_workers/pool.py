"""A pool of worker processes: loads models on all of them, hands requests to a free one, replaces those that end."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import pickle
from collections.abc import AsyncIterator, Mapping
from typing import Any

from attrs import define, field

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelLoadError, ModelNotReady
from mlsrv.executor import ModelInfo
from mlsrv.settings import ModelSettings
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_workers import messages
from mlsrv_workers.failures import WorkerEnded
from mlsrv_workers.frames import Kind
from mlsrv_workers.process import Launch, Pending, WorkerProcess

logger = logging.getLogger("mlsrv.workers")

ASYNC_CONCURRENCY = 64
"""Requests to asynchronous models that one worker has at once."""

STREAM_CREDIT = 8
"""After how many responses of a stream the worker is told that they were taken."""

RELOAD_ATTEMPTS = 3
"""After how many deaths in a row while a model is loaded again that model is given up."""

LONGEST_PAUSE = 30.0
"""Seconds between two attempts to replace a worker that keeps ending."""

HEALTHY_AFTER = 30.0
"""Seconds after which a worker's end no longer counts as one in a row."""


@define(eq=False)
class Loaded:
    """A model that the pool has, or is loading.

    Attributes:
        id: of the placement.
        pickled: its settings, as they are sent to each worker.
        ready: whether the first load has succeeded everywhere; only then replaced workers load it too.
        deaths: how many workers in a row ended while they loaded it again.
        problem: why it was given up.
    """

    id: int
    name: str
    pickled: bytes
    ready: bool = False
    info: ModelInfo = field(factory=ModelInfo)
    deaths: int = 0
    problem: str | None = None


@define(eq=False, order=False)
class _Waiting:
    """A request that no worker has room for yet."""

    model: int
    context: CallContext
    granted: asyncio.Future[WorkerProcess]


class Pool:
    """Worker processes that all have the same models.

    Args:
        name: for messages.
        size: how many processes.
        launch: how they are started.
        concurrency: requests to synchronous models that one worker has at once.
        stop_timeout: seconds that a worker gets to end by itself.
        restart_on_deadline: whether a worker that does not let go of an expired request is replaced.
    """

    def __init__(
        self,
        name: str,
        size: int,
        launch: Launch,
        *,
        concurrency: int = 2,
        stop_timeout: float = 5.0,
        restart_on_deadline: bool = False,
    ) -> None:
        self.name = name
        self.size = size
        self._launch = launch
        self._limits = (concurrency, ASYNC_CONCURRENCY)
        self._stop_timeout = stop_timeout
        self._restart_on_deadline = restart_on_deadline
        self._workers: dict[int, WorkerProcess] = {}
        self._models: dict[int, Loaded] = {}
        self._ids = itertools.count(1)
        self._turns = itertools.count()
        self._waiting: tuple[list[tuple[int, int, _Waiting]], list[tuple[int, int, _Waiting]]] = ([], [])
        self._keepers: list[asyncio.Task[None]] = []
        self._reapers: set[asyncio.Task[None]] = set()
        self._failing: dict[int, str] = {}
        self._stopping = False

    # --- lifetime -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all workers. Raises an `MLSrvError` if one does not come up; then none is left."""
        firsts = [asyncio.get_running_loop().create_future() for _ in range(self.size)]
        self._keepers = [
            asyncio.create_task(self._keep(number, first), name=f"mlsrv-worker-{self.name}-{number}")
            for number, first in enumerate(firsts, 1)
        ]
        try:
            await asyncio.gather(*firsts)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all workers. Idempotent."""
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(worker.stop(self._stop_timeout) for worker in list(self._workers.values())))
        await asyncio.gather(*self._reapers, return_exceptions=True)
        self._workers.clear()
        self._give_up("The server is stopping.")

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that serve now."""
        return [worker.pid for worker in self._workers.values()]

    @property
    def queued(self) -> int:
        """Requests that wait for a worker."""
        return sum(len(heap) for heap in self._waiting)

    def problem(self, model: Loaded) -> str | None:
        """Why a model cannot answer now, or None if it can."""
        if model.problem is not None:
            return model.problem
        if any(model.id in worker.models for worker in self._workers.values()):
            return None
        return f"no worker of the pool {self.name} serves it now{self._why()}"

    def _why(self) -> str:
        return "".join(f": {reason}" for reason in sorted(set(self._failing.values())))

    async def _keep(self, number: int, first: asyncio.Future[None]) -> None:
        """Keep one place of the pool filled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            worker = WorkerProcess(number, self._dispatch, self._on_ended)
            born = loop.time()
            try:
                await worker.start(self._launch)
                await self._catch_up(worker)
                self._workers[number] = worker
                await self._catch_up(worker)
                self._failing.pop(number, None)
                if not first.done():
                    first.set_result(None)
                elif failures:
                    logger.info("Worker %d of the pool %s is back (pid %d)", number, self.name, worker.pid)
                self._dispatch()
                await worker.ended.wait()
                reason = str(worker.reason)
            except asyncio.CancelledError:
                if number not in self._workers:
                    worker.kill()
                    await worker.reaped()
                raise
            except MLSrvError as error:
                reason = str(error)
                worker.kill()
                if not first.done():
                    first.set_exception(error)
                    await worker.reaped()
                    return
            self._workers.pop(number, None)
            await worker.reaped()
            failures = 1 if loop.time() - born > HEALTHY_AFTER else failures + 1
            pause = 0.0 if failures == 1 else min(LONGEST_PAUSE, 0.1 * 2**failures)
            self._failing[number] = reason
            again = f"again in {pause:.1f} s" if pause else "now"
            logger.error("Worker %d of the pool %s: %s It is replaced %s.", number, self.name, reason, again)
            if failures >= RELOAD_ATTEMPTS and not self._workers:
                self._give_up(f"The workers of the pool {self.name} keep ending: {reason}")
            await asyncio.sleep(pause)

    async def _catch_up(self, worker: WorkerProcess) -> None:
        """Load on a worker what the others have."""
        while missing := [
            m for m in self._models.values() if m.ready and not m.problem and m.id not in worker.models
        ]:
            for model in missing:
                try:
                    await worker.ask(Kind.LOAD, (model.id, model.pickled))
                except WorkerEnded as error:
                    model.deaths += 1
                    if model.deaths >= RELOAD_ATTEMPTS:
                        model.problem = f"{model.deaths} workers in a row ended while they loaded it: {error}"
                    raise
                except MLSrvError as error:
                    model.problem = f"it cannot be loaded again: {error}"
                    logger.error("Model %s in the pool %s: %s", model.name, self.name, model.problem)
                else:
                    model.deaths = 0
                    worker.models.add(model.id)

    def _on_ended(self, worker: WorkerProcess) -> None:
        if self._workers.get(worker.number) is worker:
            del self._workers[worker.number]

    def _give_up(self, reason: str) -> None:
        for heap in self._waiting:
            for _, _, waiting in heap:
                if not waiting.granted.done():
                    waiting.granted.set_exception(ModelNotReady(reason))
            heap.clear()

    # --- models -------------------------------------------------------------------------------------------------

    async def load(self, settings: ModelSettings) -> Loaded:
        """Load a model on every worker.

        Raises:
            MLSrvError: it fails on one of them; it is unloaded everywhere then.
        """
        model = Loaded(next(self._ids), settings.name, pickle.dumps(settings))
        self._models[model.id] = model
        workers = list(self._workers.values())
        if not workers:
            del self._models[model.id]
            raise ModelLoadError(
                f"Model {settings.name} cannot be loaded: no worker of the pool {self.name} serves{self._why()}"
            )
        loads = [asyncio.create_task(worker.ask(Kind.LOAD, (model.id, model.pickled))) for worker in workers]
        try:
            plain, *_ = await asyncio.gather(*loads)
        except BaseException as error:
            for load in loads:
                load.cancel()
            await asyncio.gather(*loads, return_exceptions=True)
            await self.unload(model)
            if isinstance(error, WorkerEnded):
                raise ModelLoadError(f"Model {settings.name} cannot be loaded: {error}") from error
            raise
        for worker in workers:
            worker.models.add(model.id)
        model.info = ModelInfo(
            **{
                **plain,
                "replicas": self.size,
                "inputs": messages.load_metadata(plain["inputs"]),
                "outputs": messages.load_metadata(plain["outputs"]),
            }
        )
        model.ready = True
        for worker in self._workers.values():
            if model.id not in worker.models:
                self._later(self._catch_up(worker))
        return model

    async def unload(self, model: Loaded) -> None:
        """Unload a model from every worker. Idempotent."""
        if self._models.pop(model.id, None) is None:
            return
        workers = list(self._workers.values())
        for worker in workers:
            worker.models.discard(model.id)
        results = await asyncio.gather(
            *(worker.ask(Kind.UNLOAD, model.id) for worker in workers), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, WorkerEnded):
                raise result

    # --- requests -----------------------------------------------------------------------------------------------

    async def infer(
        self, model: Loaded, request: InferenceRequest, context: CallContext
    ) -> InferenceResponse:
        """Answer one request."""
        buffers: messages.Buffers = []
        plain = messages.dump_request(request, buffers)
        worker = await self._reserve(model, context)
        payload = (model.id, plain, messages.dump_context(context))
        call, pending = worker.begin(Kind.INFER, payload, buffers, slot=model.info.asynchronous)
        frame = await self._result(worker, call, pending, context)
        return messages.load_response(frame.payload, frame.buffers)

    async def call(
        self, model: Loaded, method: str, arguments: Mapping[str, Any], context: CallContext
    ) -> Any:
        """Call a custom handler."""
        worker = await self._reserve(model, context)
        payload = (model.id, method, dict(arguments), messages.dump_context(context))
        call, pending = worker.begin(Kind.CALL, payload, slot=model.info.asynchronous)
        return (await self._result(worker, call, pending, context)).payload

    async def stream(
        self, model: Loaded, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        """Answer a stream; the consumer's pace holds the worker back."""
        worker = await self._reserve(model, context)
        call, pending = worker.begin(
            Kind.STREAM, (model.id, messages.dump_context(context)), slot=model.info.asynchronous
        )
        feeding = asyncio.create_task(self._feed(worker, call, requests))
        taken = 0
        try:
            while (frame := await pending.items.get()) is not None:
                yield messages.load_response(frame.payload, frame.buffers)
                taken += 1
                if taken % STREAM_CREDIT == 0:
                    worker.more(Kind.STREAM_CREDIT, call, STREAM_CREDIT)
            if feeding.done() and not feeding.cancelled() and feeding.exception() is not None:
                await feeding
            await pending.future
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            worker.cancel(call)

    async def _feed(
        self, worker: WorkerProcess, call: int, requests: AsyncIterator[InferenceRequest]
    ) -> None:
        try:
            async for request in requests:
                buffers: messages.Buffers = []
                worker.more(Kind.STREAM_INPUT, call, messages.dump_request(request, buffers), buffers)
        except Exception:
            # A request was refused on the way (by an interceptor, by the transport): its error is the stream's.
            worker.cancel(call)
            raise
        worker.more(Kind.STREAM_INPUT, call, None)

    async def _result(self, worker: WorkerProcess, call: int, pending: Pending, context: CallContext) -> Any:
        try:
            return await pending.future
        except asyncio.CancelledError:
            worker.cancel(call)
            if self._restart_on_deadline and context.deadline is not None:
                self._later(self._restart_if_stuck(worker, call))
            raise

    async def _restart_if_stuck(self, worker: WorkerProcess, call: int) -> None:
        await asyncio.sleep(1.0)
        if worker.running_call(call):
            logger.error("Worker %d is stuck past a deadline and is restarted", worker.number)
            worker.kill()

    async def _reserve(self, model: Loaded, context: CallContext) -> WorkerProcess:
        """A worker that has the model, with room for one more request that is taken by this call: at once, or as
        soon as there is one. The call begins next, without waiting in between."""
        kind = model.info.asynchronous
        while True:
            worker = None if self._waiting[kind] else self._best(model.id, kind)
            if worker is not None:
                worker.running[kind] += 1
                return worker
            if model.problem is not None or self._stopping:
                raise ModelNotReady(
                    f"Model {model.name} is not ready: {model.problem or 'the server is stopping'}"
                )
            waiting = _Waiting(model.id, context, asyncio.get_running_loop().create_future())
            # Priority 0 stands for "none given" and comes after every given one.
            heapq.heappush(self._waiting[kind], (context.priority or 1 << 32, next(self._turns), waiting))
            try:
                worker = await waiting.granted
            except asyncio.CancelledError:
                if waiting.granted.done() and not waiting.granted.cancelled():
                    waiting.granted.result().running[kind] -= 1
                    self._dispatch()
                raise
            if not worker.ended.is_set():
                return worker

    def _best(self, model: int, kind: bool) -> WorkerProcess | None:
        best: WorkerProcess | None = None
        for worker in self._workers.values():
            if model not in worker.models or worker.running[kind] >= self._limits[kind]:
                continue
            if best is None or worker.running[kind] < best.running[kind]:
                best = worker
        return best

    def _dispatch(self) -> None:
        """Hand out the room that there is."""
        for kind in (False, True):
            heap = self._waiting[kind]
            kept: list[tuple[int, int, _Waiting]] = []
            while heap:
                entry = heapq.heappop(heap)
                waiting = entry[2]
                if waiting.granted.done():
                    continue  # cancelled while it waited: it never reaches a worker
                worker = self._best(waiting.model, kind)
                if worker is None:
                    kept.append(entry)
                    if all(w.running[kind] >= self._limits[kind] for w in self._workers.values()):
                        break
                    continue
                worker.running[kind] += 1
                waiting.granted.set_result(worker)
            for entry in kept:
                heapq.heappush(heap, entry)

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._reapers.add(task)
        task.add_done_callback(self._reapers.discard)
