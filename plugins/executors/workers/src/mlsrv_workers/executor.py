"""Executor: places models in pools of worker processes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from attrs import evolve, frozen

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelLoadError, ModelNotReady
from mlsrv.executor import Executor, Placement
from mlsrv.handlers import Arguments
from mlsrv.metrics import Metric, ProcessMetric
from mlsrv.settings import ModelSettings
from mlsrv_executor_kit.plugin_specs import PluginSpecs
from mlsrv_protocol.encoded import EncodedRequest, EncodedResponse
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_workers.environments.environments import Environment, Environments, has_environment, source_of
from mlsrv_workers.metrics import (
    PARALLEL_QUEUE,
    WORKER_ENDS,
    WORKER_MEMORY,
    WORKER_OVERDUE,
    WORKER_WAITING,
    WORKERS,
)
from mlsrv_workers.pool.crashes import CRASHES
from mlsrv_workers.pool.launch_spec import LaunchSpec
from mlsrv_workers.pool.pool import Pool, PoolOptions
from mlsrv_workers.pool.process_memory import resident_bytes
from mlsrv_workers.pool.replicated_models import ReplicatedModel
from mlsrv_workers.settings import WorkerModelSettings, WorkerSettings

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI

logger = logging.getLogger("mlsrv.workers")


@frozen
class PoolKey:
    """The identity of a pool: models with equal keys share its workers.

    Attributes:
        name: name of the pool; ``"default"`` unless the model chooses one.
        size: number of workers.
        environment: the Python environment of the workers; None is the server's own.
        isolated: id of the placement whose requests kept ending workers, if the pool was made for it; 0 for
            all other pools.
    """

    name: str
    size: int
    environment: Environment | None = None
    isolated: int = 0

    @property
    def permanent(self) -> bool:
        """True if the pool stays when no model is in it."""
        return self.name == "default" and self.environment is None and not self.isolated

    def __str__(self) -> str:
        if self.environment is None:
            return self.name
        # Clients may read it, as a reason or a label: it does not tell where the folder is.
        folder = Path(self.environment.folder)
        return f"{self.name} in {folder.name} ({crc32(str(folder).encode()):08x})"


class PooledModel(Placement):
    """The placement of a model in a pool."""

    def __init__(self, executor: WorkersExecutor, key: PoolKey, pool: Pool, model: ReplicatedModel) -> None:
        self.info = model.info
        self.key = key
        self._executor = executor
        self._pool = pool
        self._model = model
        self._moving: asyncio.Task[None] | None = None
        self._reason: str | None = None
        executor.placed[pool, model.id] = self

    def infer(
        self, request: InferenceRequest, context: CallContext
    ) -> Coroutine[Any, Any, InferenceResponse]:
        self._check_ready()
        return self._pool.infer(self._model, request, context)

    @property
    def takes_encoded(self) -> bool:
        # Another version of Python may read JSON with another library, whose errors differ.
        return self.key.environment is None

    def infer_encoded(
        self, request: EncodedRequest, context: CallContext
    ) -> Coroutine[Any, Any, EncodedResponse | None]:
        self._check_ready()
        return self._pool.infer_encoded(self._model, request, context)

    def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        self._check_ready()
        return self._pool.stream(self._model, requests, context)

    async def call(self, method: str, arguments: Arguments, context: CallContext) -> Any:
        self._check_ready()
        return await self._pool.call(self._model, method, arguments, context)

    async def unload(self) -> None:
        if self._moving is not None:
            self._moving.cancel()
            await asyncio.wait({self._moving})
        self._executor.placed.pop((self._pool, self._model.id), None)
        await self._pool.unload(self._model)
        await self._executor.release(self.key)

    @property
    def problem(self) -> str | None:
        return self._reason or self._pool.problem_of(self._model)

    def _check_ready(self) -> None:
        if self._reason is not None:
            raise ModelNotReady(f"Model {self._model.name} is not ready: {self._reason}")

    def isolate(self) -> None:
        """Move the model into a process of its own, because its requests keep ending workers of the pool.

        Until it is there its requests are refused, and the other models of the pool go on.
        """
        if self._moving is None:
            self._reason = (
                f"its requests ended {CRASHES} worker processes of the pool {self.key}; it is being moved "
                "into a process of its own"
            )
            logger.error("Model %s: %s", self._model.name, self._reason)
            self._moving = asyncio.create_task(self._isolate(), name=f"mlsrv-isolate-{self._model.name}")

    async def _isolate(self) -> None:
        pool, model = self._pool, self._model
        try:
            await pool.unload(model)
            await self._executor.move(self, model)
        except (MLSrvError, OSError) as error:
            self._reason = f"it could not be moved into a process of its own: {error}"
            logger.error("Model %s: %s", model.name, self._reason)

    def moved(self, key: PoolKey, pool: Pool, model: ReplicatedModel) -> None:
        """Note that the model now lives in another pool."""
        del self._executor.placed[self._pool, self._model.id]
        self.key, self._pool, self._model, self._reason = key, pool, model, None
        self._executor.placed[pool, model.id] = self
        logger.warning("Model %s now runs in a process of its own", model.name)


class WorkersExecutor(Executor):
    """Starts a pool for the first model that needs it and stops it after the last one."""

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self._settings = kernel.settings.of(WorkerSettings)
        self.placed: dict[tuple[Pool, int], PooledModel] = {}
        self._pools: dict[PoolKey, asyncio.Task[Pool]] = {}
        self._users: dict[PoolKey, int] = {}
        self._queued = kernel.metrics.bind(PARALLEL_QUEUE)
        self._stop_gauges = [
            kernel.metrics.observe_gauge(WORKER_WAITING, self._waiting),
            kernel.metrics.observe_gauge(WORKERS, self._states),
            kernel.metrics.observe_gauge(WORKER_MEMORY, self._memory),
            kernel.metrics.observe_gauge(WORKER_OVERDUE, self._overdue),
            kernel.metrics.observe_processes(self._process_metrics),
        ]
        self._environments = Environments(
            Path(self._settings.environments_dir), self._settings.environment_timeout
        )

    async def __aexit__(self, *exc_info: object) -> None:
        for stop in self._stop_gauges:
            stop()
        keys = list(self._pools)
        await asyncio.gather(*(self._stop(key) for key in keys), return_exceptions=True)

    def claims(self, model: ModelSettings) -> bool:
        return has_environment(model) or (self._key(model).size > 0 and _is_importable(model))

    def environment(self, model: ModelSettings) -> str | None:
        if not has_environment(model):
            return None
        self._usable_key(model)
        kind, path = source_of(model)
        return f"{kind} {path}"

    async def load(self, model: ModelSettings) -> Placement:
        key = self._usable_key(model)
        key = evolve(key, environment=await self._environments.of(model))
        for other in self._pools:
            same = (other.name, other.environment) == (key.name, key.environment)
            if same and other.size != key.size and not _wants_own_pool(model):
                raise ModelLoadError(
                    f"Model {model.name} wants the pool {key} with {key.size} workers, "
                    f"but it has {other.size}."
                )
        self._users[key] = self._users.get(key, 0) + 1
        try:
            pool = await self._pool(key)
            loaded = await pool.load(model)
        except BaseException:
            await self.release(key)
            raise
        return PooledModel(self, key, pool, loaded)

    async def move(self, placement: PooledModel, model: ReplicatedModel) -> None:
        """Load a model in a pool of its own, as it was loaded before, and release its present pool.

        Raises:
            MLSrvError: it cannot be loaded there; it stays where it was.
        """
        old = placement.key
        key = evolve(old, name=f"{model.name}, isolated", size=1, isolated=model.id)
        self._users[key] = 1
        try:
            pool = await self._pool(key)
            loaded = await pool.load_again(model)
        except BaseException:
            await self.release(key)
            raise
        placement.moved(key, pool, loaded)
        await self.release(old)

    async def release(self, key: PoolKey) -> None:
        """Remove one model from a pool; the pool stops with its last model unless it is permanent."""
        self._users[key] -= 1
        if not self._users[key] and not key.permanent:
            await self._stop(key)

    @property
    def problem(self) -> str | None:
        return next((pool.problem for pool in self._running() if pool.problem), None)

    @property
    def pids(self) -> list[int]:
        """Process ids of all running workers."""
        return [pid for pool in self._running() for pid in pool.pids]

    async def _process_metrics(self) -> dict[int, list[ProcessMetric] | None]:
        found: dict[int, list[ProcessMetric] | None] = {}
        for metrics in await asyncio.gather(*(pool.process_metrics() for pool in self._running())):
            found |= metrics
        return found

    def _running(self) -> list[Pool]:
        tasks = [task for task in self._pools.values() if task.done() and not task.cancelled()]
        return [task.result() for task in tasks if task.exception() is None]

    def _key(self, model: ModelSettings) -> PoolKey:
        own = model.of(WorkerModelSettings)
        size = self._settings.parallel_workers if own.parallel_workers is None else own.parallel_workers
        if _wants_own_pool(model):
            return PoolKey(f"model {model.name} {model.version or ''}".rstrip(), size)
        return PoolKey(_shared_pool(model) or "default", size)

    def _usable_key(self, model: ModelSettings) -> PoolKey:
        key = self._key(model)
        if not key.size:
            raise ModelLoadError(
                f"Model {model.name} has an environment of its own and needs a worker to run in it: "
                "set parallel_workers to 1 or more."
            )
        return key

    async def _pool(self, key: PoolKey) -> Pool:
        if key not in self._pools:
            self._pools[key] = asyncio.create_task(self._start_pool(key), name=f"mlsrv-pool-{key}")
        task = self._pools[key]
        try:
            return await asyncio.shield(task)
        finally:
            failed = task.done() and (task.cancelled() or task.exception() is not None)
            if failed and self._pools.get(key) is task:
                del self._pools[key]

    async def _start_pool(self, key: PoolKey) -> Pool:
        settings = self._settings
        launch = LaunchSpec(
            plugins=PluginSpecs.of(self.kernel.plugins, in_environment=key.environment is not None),
            settings=self.kernel.settings.plain(),
            threads=settings.worker_threads or max(1, (os.cpu_count() or 1) // key.size),
            shared_memory=settings.worker_arena_bytes,
            record=self._record,
            ask=self.kernel.infer,
            environment=key.environment,
        )
        options = PoolOptions(
            concurrency=settings.worker_concurrency,
            short_calls=settings.worker_short_calls,
            restart_on_deadline=settings.on_deadline == "restart",
            abandoned_timeout=settings.worker_abandoned_timeout,
            heartbeat=settings.worker_heartbeat,
            max_requests=settings.worker_max_requests,
            max_memory=settings.worker_max_memory_bytes,
            isolated=bool(key.isolated),
        )
        pool = Pool(
            str(key),
            key.size,
            launch,
            options,
            on_queued=self._queued,
            on_end=self.kernel.metrics.bind(WORKER_ENDS, (str(key),)),
            on_crashing=lambda model: self._isolate(pool, model),
        )
        await pool.start()
        return pool

    def _isolate(self, pool: Pool, model: int) -> None:
        placement = self.placed.get((pool, model))
        if placement is not None:
            placement.isolate()

    async def _stop(self, key: PoolKey) -> None:
        task = self._pools.pop(key, None)
        if task is None:
            return
        if not task.done():
            task.cancel()
        try:
            pool = await task
        except (asyncio.CancelledError, Exception):
            return  # its start failed and has stopped its workers
        await pool.stop(self._settings.parallel_workers_timeout)

    def _waiting(self) -> Iterator[tuple[Sequence[str], float]]:
        for pool in self._running():
            yield (pool.name,), float(pool.queued)

    def _states(self) -> Iterator[tuple[Sequence[str], float]]:
        for pool in self._running():
            for state, count in pool.counts.items():
                yield (pool.name, state), float(count)

    def _overdue(self) -> Iterator[tuple[Sequence[str], float]]:
        for pool in self._running():
            yield (pool.name,), float(pool.overdue)

    def _memory(self) -> Iterator[tuple[Sequence[str], float]]:
        for pool in self._running():
            size = resident_bytes(pool.pids)
            if size is not None:
                yield (pool.name,), float(size)

    def _record(self, plain: tuple[Any, ...], value: float, labels: tuple[str, ...]) -> None:
        self.kernel.metrics.record(Metric(*plain), value, labels)


def _shared_pool(model: ModelSettings) -> str | None:
    """Return the name of the pool that a model shares; MLServer's files name it among the parameters."""
    pool: str | None = model.of(WorkerModelSettings).pool or model.parameters.others.get("inference_pool_gid")
    return pool


def _wants_own_pool(model: ModelSettings) -> bool:
    """Return True if a model asks for a pool of its own."""
    return model.of(WorkerModelSettings).parallel_workers is not None and _shared_pool(model) is None


def _is_importable(model: ModelSettings) -> bool:
    """Return True if another process can import the model's class.

    A class of the main script, or one that was made inside a function, exists in this process only.
    """
    wanted = model.implementation
    return not isinstance(wanted, type) or (
        wanted.__module__ != "__main__" and "<locals>" not in wanted.__qualname__
    )
