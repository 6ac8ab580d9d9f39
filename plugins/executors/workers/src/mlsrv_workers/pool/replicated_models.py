"""Replicated models: the models of a pool, loaded on each worker and again on those that are replaced."""

from __future__ import annotations

import asyncio
import itertools
import logging
import pickle
from collections.abc import Callable
from typing import Any

from attrs import define, field

from mlsrv.errors import MLSrvError, ModelLoadError
from mlsrv.executor import ModelInfo
from mlsrv.settings import ModelSettings
from mlsrv.threads import run_in_own_thread
from mlsrv_executor_kit.model_files import ModelFiles, artifact_stamp
from mlsrv_workers.ipc.failures import WorkerEnded
from mlsrv_workers.ipc.frames import FrameKind
from mlsrv_workers.pool.answers import info_of
from mlsrv_workers.pool.slot import Slot
from mlsrv_workers.pool.supervisor import Supervisor
from mlsrv_workers.pool.worker_process import WorkerProcess

logger = logging.getLogger("mlsrv.workers")

MAX_FAILED_RELOADS = 3
"""Workers in a row that end while they reload a model, after which it is not reloaded any more."""

ANSWER_INTERVAL = 0.5
"""Seconds between two looks whether a worker that unloads a model still answers."""


@define(eq=False)
class ReplicatedModel:
    """A model that the pool has, or is loading.

    Attributes:
        id: id of the placement.
        settings: the model's settings.
        pickled: the settings as they are sent to each worker.
        files: its code and its artifact at the time of the first load.
        ready: True once the first load has succeeded on all workers; replaced workers load it from then on.
        slot: the kind of slot that a request to the model takes.
        load_seconds: duration of the first load.
        failed_reloads: number of workers in a row that ended while they reloaded the model.
        problem: the reason why replaced workers no longer load it, or None.
        changed: True if its artifact has changed, so that replaced workers go without it.
    """

    id: int
    settings: ModelSettings
    pickled: bytes
    files: ModelFiles
    ready: bool = False
    slot: Slot = Slot.SYNCHRONOUS
    load_seconds: float = 0.0
    info: ModelInfo = field(factory=ModelInfo)
    failed_reloads: int = 0
    problem: str | None = None
    changed: bool = False

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.settings.name


class ReplicatedModels:
    """Keeps the same models on all workers of a pool.

    Args:
        supervisor: the workers.
        on_served: called when a worker serves one more model.
        on_lost: called with a model that no worker has any more, and the reason.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        on_served: Callable[[], None],
        on_lost: Callable[[ReplicatedModel, str], None],
    ) -> None:
        self._supervisor = supervisor
        self._on_served = on_served
        self._on_lost = on_lost
        self._models: dict[int, ReplicatedModel] = {}
        self._ids = itertools.count(1)
        self._retry_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def count(self) -> int:
        """Number of models that are loaded or being loaded."""
        return len(self._models)

    def workers_of(self, model: ReplicatedModel) -> list[WorkerProcess]:
        """Return the running workers that have the model."""
        return [worker for worker in self._supervisor.alive.values() if model.id in worker.models]

    async def load(self, settings: ModelSettings) -> ReplicatedModel:
        """Load a model on one worker, then on all others: a model that ends its process ends only one.

        Raises:
            MLSrvError: the load fails on a worker; the model is unloaded from all workers then.
        """
        pickled = _pickle_settings(settings)
        files = await run_in_own_thread(ModelFiles.of, settings)
        return await self._load(ReplicatedModel(next(self._ids), settings, pickled, files))

    async def load_again(self, model: ReplicatedModel) -> ReplicatedModel:
        """Load a model of another pool just as it was loaded there. Raises as `load` does."""
        return await self._load(ReplicatedModel(next(self._ids), model.settings, model.pickled, model.files))

    async def _load(self, model: ReplicatedModel) -> ReplicatedModel:
        self._models[model.id] = model
        try:
            await self._load_with_retry(model)
        except BaseException as error:
            await self.unload(model)
            if isinstance(error, WorkerEnded):
                raise ModelLoadError(f"Model {model.name} cannot be loaded: {error}") from error
            raise
        model.ready = True
        self._catch_up_others(model)
        return model

    async def unload(self, model: ReplicatedModel) -> None:
        """Unload a model from every worker. Idempotent."""
        if self._models.pop(model.id, None) is None:
            return
        self._on_lost(model, f"Model {model.name} was unloaded.")
        workers = list(self._supervisor.alive.values())
        for worker in workers:
            worker.models.discard(model.id)
        results = await asyncio.gather(
            *(self._unload_on(model, worker) for worker in workers), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, WorkerEnded):
                raise result

    async def catch_up(self, worker: WorkerProcess) -> None:
        """Load on a worker the models that the other workers have, the quickest first.

        Each model serves as soon as it is loaded.
        """
        async with worker.catching_up:
            while (model := self._next_missing(worker)) is not None:
                await self._reload(model, worker)
                self._on_served()

    def _catch_up_others(self, model: ReplicatedModel) -> None:
        for worker in self._supervisor.alive.values():
            if model.id not in worker.models:
                task = asyncio.create_task(self._catch_up_unless_ended(worker))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    # --- the first load -------------------------------------------------------------------------------------

    async def _load_with_retry(self, model: ReplicatedModel) -> None:
        try:
            await self._load_everywhere(model)
        except WorkerEnded:
            # Another model that was loading may have ended the worker. If a worker ends again while only this
            # model is loaded, this model is the cause.
            async with self._retry_lock:
                await self._load_everywhere(model)

    async def _load_everywhere(self, model: ReplicatedModel) -> None:
        first, *others = await self._supervisor.wait_for_workers()
        started_at = asyncio.get_running_loop().time()
        payload = await self._load_on(model, first)
        model.load_seconds = asyncio.get_running_loop().time() - started_at
        model.info = info_of(payload, self._supervisor.size)
        model.slot = Slot.ASYNCHRONOUS if model.info.asynchronous else Slot.SYNCHRONOUS
        loads = [asyncio.create_task(self._load_on(model, worker)) for worker in others]
        try:
            await asyncio.gather(*loads)
        finally:
            for load in loads:
                load.cancel()
            await asyncio.gather(*loads, return_exceptions=True)

    async def _load_on(self, model: ReplicatedModel, worker: WorkerProcess) -> dict[str, Any]:
        if model.id in worker.models:  # from the first attempt
            await worker.ask(FrameKind.UNLOAD, model.id)
        payload: dict[str, Any] = await worker.ask(
            FrameKind.LOAD, (model.id, model.pickled, model.files.code)
        )
        worker.models.add(model.id)
        return payload

    async def _unload_on(self, model: ReplicatedModel, worker: WorkerProcess) -> None:
        """Unload on one worker; do not wait for one that does not answer, which does it later."""
        unloading = asyncio.create_task(worker.ask(FrameKind.UNLOAD, model.id))
        self._tasks.add(unloading)
        unloading.add_done_callback(self._unloaded)
        while not unloading.done() and worker.pid in self._supervisor.serving:
            await asyncio.wait({unloading}, timeout=ANSWER_INTERVAL)
        if unloading.done():
            await unloading

    def _unloaded(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # read, as no caller may wait any more: with its process the model ends, too

    # --- loading again --------------------------------------------------------------------------------------

    async def _catch_up_unless_ended(self, worker: WorkerProcess) -> None:
        try:
            await self.catch_up(worker)
        except WorkerEnded:
            return  # the supervisor replaces it, and the new one catches up

    def _next_missing(self, worker: WorkerProcess) -> ReplicatedModel | None:
        missing = [
            model
            for model in self._models.values()
            if model.ready and model.problem is None and model.id not in worker.models
            if not (model.changed and self.workers_of(model))
        ]
        return min(missing, key=lambda model: model.load_seconds, default=None)

    async def _reload(self, model: ReplicatedModel, worker: WorkerProcess) -> None:
        present = await run_in_own_thread(artifact_stamp, model.settings, model.files.code)
        if present != model.files.artifact:
            if self.workers_of(model):
                model.changed = True
                logger.error(
                    "Model %s in the pool %s: worker %d goes without it, since its artifact has changed; "
                    "load it again",
                    model.name,
                    self._supervisor.name,
                    worker.number,
                )
                return
            # No worker has the version that was loaded: all of them take the present one.
            logger.warning("Model %s has no worker left and is loaded with its present files", model.name)
            model.files = await run_in_own_thread(ModelFiles.of, model.settings)
        changed, model.changed = model.changed, False
        try:
            await self._load_on(model, worker)
        except WorkerEnded as error:
            if worker.running_at_end or worker.replaced:
                raise  # one of its requests may have ended it, or the pool
            model.failed_reloads += 1
            if model.failed_reloads >= MAX_FAILED_RELOADS:
                self._give_up(
                    model,
                    f"{model.failed_reloads} workers in a row ended while they loaded it again: {error}",
                )
            raise
        except MLSrvError as error:
            # Clients may see the reason, the log has the details.
            text = str(error)
            if isinstance(error, ModelLoadError) and error.raised:
                text = f"{error.what}: {error.raised}"
            self._give_up(model, f"a replaced worker cannot reload it: {text}", error)
        else:
            model.failed_reloads = 0
            if changed:
                self._catch_up_others(model)
            if model.id not in self._models:  # it was unloaded from the other workers meanwhile
                worker.models.discard(model.id)
                await worker.ask(FrameKind.UNLOAD, model.id)

    def _give_up(self, model: ReplicatedModel, reason: str, error: MLSrvError | None = None) -> None:
        model.problem = reason
        logger.error("Model %s in the pool %s: %s", model.name, self._supervisor.name, reason, exc_info=error)
        if not self.workers_of(model):
            self._on_lost(model, f"Model {model.name} is not ready: {reason}")


def _pickle_settings(settings: ModelSettings) -> bytes:
    try:
        return pickle.dumps(settings)
    except Exception as error:  # settings may hold any object of an embedding application
        what = f"Model {settings.name}: its settings cannot be sent to a worker process"
        raise ModelLoadError.of_unexpected(what, error, str(error)) from error
