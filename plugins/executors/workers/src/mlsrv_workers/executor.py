"""The executor that places models in pools of worker processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from attrs import define

from mlsrv.context import CallContext
from mlsrv.errors import ModelLoadError
from mlsrv.executor import Executor, Placement
from mlsrv.handlers import Arguments
from mlsrv.metrics import Metric
from mlsrv.settings import ModelSettings
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_workers.given import GivenPlugins
from mlsrv_workers.loaded import Loaded
from mlsrv_workers.pool import Pool
from mlsrv_workers.process import Launch
from mlsrv_workers.settings import WorkerModelSettings, WorkerSettings

if TYPE_CHECKING:
    from mlsrv.kernel import Kernel


@define(frozen=True)
class PoolKey:
    """What tells pools apart.

    Attributes:
        name: of a pool that models share; ``"default"`` without a choice.
        size: how many workers.
    """

    name: str
    size: int


class PooledModel(Placement):
    """A model in a pool."""

    def __init__(self, executor: WorkersExecutor, key: PoolKey, pool: Pool, model: Loaded) -> None:
        self.info = model.info
        self._executor = executor
        self._key = key
        self._pool = pool
        self._model = model

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        return await self._pool.infer(self._model, request, context)

    def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        return self._pool.stream(self._model, requests, context)

    async def call(self, method: str, arguments: Arguments, context: CallContext) -> Any:
        return await self._pool.call(self._model, method, arguments, context)

    async def unload(self) -> None:
        await self._pool.unload(self._model)
        await self._executor.leave(self._key)

    @property
    def problem(self) -> str | None:
        return self._pool.problem_of(self._model)


class WorkersExecutor(Executor):
    """Makes a pool when the first model needs it, and ends it with the last one that was in it."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._settings = kernel.settings.of(WorkerSettings)
        self._pools: dict[PoolKey, asyncio.Task[Pool]] = {}
        self._users: dict[PoolKey, int] = {}

    async def __aexit__(self, *exc_info: object) -> None:
        keys = list(self._pools)
        await asyncio.gather(*(self._stop(key) for key in keys), return_exceptions=True)

    def claims(self, model: ModelSettings) -> bool:
        return self._key(model).size > 0 and _portable(model)

    async def load(self, model: ModelSettings) -> Placement:
        key = self._key(model)
        for other in self._pools:
            if other.name == key.name and other.size != key.size and not _is_own(model):
                raise ModelLoadError(
                    f"Model {model.name} wants the pool {key.name} with {key.size} workers, "
                    f"but it has {other.size}."
                )
        self._users[key] = self._users.get(key, 0) + 1
        try:
            pool = await self._pool(key)
            loaded = await pool.load(model)
        except BaseException:
            await self.leave(key)
            raise
        return PooledModel(self, key, pool, loaded)

    async def leave(self, key: PoolKey) -> None:
        """One model less in a pool; one that is not the default ends with its last model."""
        self._users[key] -= 1
        if not self._users[key] and key.name != "default":
            await self._stop(key)

    @property
    def problem(self) -> str | None:
        problems = [task.result().problem for task in self._pools.values() if task.done()]
        return next((problem for problem in problems if problem), None)

    @property
    def pids(self) -> list[int]:
        """Process ids of all workers that serve now."""
        return [pid for task in self._pools.values() if task.done() for pid in task.result().pids]

    def _key(self, model: ModelSettings) -> PoolKey:
        own = model.of(WorkerModelSettings)
        size = self._settings.parallel_workers if own.parallel_workers is None else own.parallel_workers
        if _is_own(model):
            return PoolKey(f"model {model.name} {model.version or ''}".rstrip(), size)
        return PoolKey(_shared(model) or "default", size)

    async def _pool(self, key: PoolKey) -> Pool:
        if key not in self._pools:
            self._pools[key] = asyncio.create_task(self._make(key), name=f"mlsrv-pool-{key.name}")
        try:
            return await asyncio.shield(self._pools[key])
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._pools.pop(key, None)
            raise

    async def _make(self, key: PoolKey) -> Pool:
        settings = self._settings
        launch = Launch(
            plugins=GivenPlugins.of(self.kernel.plugins),
            threads=settings.worker_threads or max(1, (os.cpu_count() or 1) // key.size),
            arena=settings.worker_arena_bytes,
            record=self._record,
        )
        pool = Pool(
            key.name,
            key.size,
            launch,
            concurrency=settings.worker_concurrency,
            restart_on_deadline=settings.on_deadline == "restart",
        )
        await pool.start()
        return pool

    async def _stop(self, key: PoolKey) -> None:
        task = self._pools.pop(key, None)
        if task is None:
            return
        if not task.done():
            task.cancel()
        try:
            pool = await task
        except (asyncio.CancelledError, Exception):
            return  # it never came up, and has cleaned up after itself
        await pool.stop(self._settings.parallel_workers_timeout)

    def _record(self, plain: tuple[Any, ...], value: float, labels: tuple[str, ...]) -> None:
        self.kernel.record(Metric(*plain), value, labels)


def _shared(model: ModelSettings) -> str | None:
    """The name of the pool that a model wants to share; MLServer's files have it among the parameters."""
    pool: str | None = model.of(WorkerModelSettings).pool or model.parameters.others.get("inference_pool_gid")
    return pool


def _is_own(model: ModelSettings) -> bool:
    """Whether a model wants a pool for itself."""
    return model.of(WorkerModelSettings).parallel_workers is not None and _shared(model) is None


def _portable(model: ModelSettings) -> bool:
    """Whether another process can find the model's class. A class of the main script, or one that was made
    inside a function, exists in this process only."""
    wanted = model.implementation
    return not isinstance(wanted, type) or (
        wanted.__module__ != "__main__" and "<locals>" not in wanted.__qualname__
    )
