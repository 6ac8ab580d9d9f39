"""The models of a pool: loaded on each worker, and again on those that are replaced."""

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
from mlsrv_workers.ipc import serialization as messages
from mlsrv_workers.ipc.failures import WorkerEnded
from mlsrv_workers.ipc.frames import Kind
from mlsrv_workers.pool.supervisor import Crew
from mlsrv_workers.pool.worker_process import WorkerProcess

logger = logging.getLogger("mlsrv.workers")

DEATHS_IN_A_ROW = 3
"""After how many deaths in a row that happened in its load a model is no longer loaded on replaced
workers."""


@define(eq=False)
class Loaded:
    """A model that the pool has, or is loading.

    Attributes:
        id: of the placement.
        pickled: its settings, as they are sent to each worker.
        ready: whether the first load has succeeded everywhere; only then replaced workers load it too.
        seconds: how long a load takes.
        deaths: how many workers in a row ended while they loaded it again.
        problem: why workers that are replaced no longer load it.
    """

    id: int
    name: str
    pickled: bytes
    ready: bool = False
    seconds: float = 0.0
    info: ModelInfo = field(factory=ModelInfo)
    deaths: int = 0
    problem: str | None = None


class LoadedModels:
    """Keeps the same models on all workers of a crew.

    Args:
        crew: the workers.
        on_served: called when a worker serves one more model.
        on_lost: called with a model that no worker has any more, and the reason.
    """

    def __init__(
        self, crew: Crew, on_served: Callable[[], None], on_lost: Callable[[Loaded, str], None]
    ) -> None:
        self._crew = crew
        self._on_served = on_served
        self._on_lost = on_lost
        self._models: dict[int, Loaded] = {}
        self._ids = itertools.count(1)
        self._alone = asyncio.Lock()
        self._late: set[asyncio.Task[None]] = set()

    def served(self, model: Loaded) -> bool:
        """Whether a living worker has the model."""
        return any(model.id in worker.models for worker in self._crew.living.values())

    async def load(self, settings: ModelSettings) -> Loaded:
        """Load a model on one worker, then on all others: one that ends its process ends only one.

        Raises:
            MLSrvError: it fails on one of them; it is unloaded everywhere then.
        """
        model = Loaded(next(self._ids), settings.name, _pickled(settings))
        self._models[model.id] = model
        try:
            await self._load_first(model)
        except BaseException as error:
            await self.unload(model)
            if isinstance(error, WorkerEnded):
                raise ModelLoadError(f"Model {settings.name} cannot be loaded: {error}") from error
            raise
        model.ready = True
        for worker in self._crew.living.values():
            if model.id not in worker.models:
                task = asyncio.create_task(self._catch_up_unless_ended(worker))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
        return model

    async def unload(self, model: Loaded) -> None:
        """Unload a model from every worker. Idempotent."""
        if self._models.pop(model.id, None) is None:
            return
        self._on_lost(model, f"Model {model.name} was unloaded.")
        workers = list(self._crew.living.values())
        for worker in workers:
            worker.models.discard(model.id)
        results = await asyncio.gather(
            *(worker.ask(Kind.UNLOAD, model.id) for worker in workers), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, WorkerEnded):
                raise result

    async def catch_up(self, worker: WorkerProcess) -> None:
        """Load on a worker what the others have, the quickest first; each model serves as soon as it is
        there."""
        async with worker.catching_up:
            while (model := self._missing(worker)) is not None:
                await self._load_again(model, worker)
                self._on_served()

    # --- the first load
    # ----------------------------------------------------------------------------------------

    async def _load_first(self, model: Loaded) -> None:
        try:
            await self._load_everywhere(model)
        except WorkerEnded:
            # Another model that was being loaded may have been the reason. If it happens again while this one
            # is alone, it is this one.
            async with self._alone:
                await self._load_everywhere(model)

    async def _load_everywhere(self, model: Loaded) -> None:
        first, *others = await self._crew.someone()
        began = asyncio.get_running_loop().time()
        plain = await self._load_on(model, first)
        model.seconds = asyncio.get_running_loop().time() - began
        model.info = messages.load_info(plain, self._crew.size)
        loads = [asyncio.create_task(self._load_on(model, worker)) for worker in others]
        try:
            await asyncio.gather(*loads)
        finally:
            for load in loads:
                load.cancel()
            await asyncio.gather(*loads, return_exceptions=True)

    async def _load_on(self, model: Loaded, worker: WorkerProcess) -> dict[str, Any]:
        if model.id in worker.models:  # from the first attempt
            await worker.ask(Kind.UNLOAD, model.id)
        plain: dict[str, Any] = await worker.ask(Kind.LOAD, (model.id, model.pickled))
        worker.models.add(model.id)
        return plain

    # --- loading again
    # -----------------------------------------------------------------------------------------

    async def _catch_up_unless_ended(self, worker: WorkerProcess) -> None:
        try:
            await self.catch_up(worker)
        except WorkerEnded:
            return  # its keeper replaces it, and the new one catches up

    def _missing(self, worker: WorkerProcess) -> Loaded | None:
        missing = [
            model
            for model in self._models.values()
            if model.ready and model.problem is None and model.id not in worker.models
        ]
        return min(missing, key=lambda model: model.seconds, default=None)

    async def _load_again(self, model: Loaded, worker: WorkerProcess) -> None:
        try:
            await self._load_on(model, worker)
        except WorkerEnded as error:
            model.deaths += 1
            if model.deaths >= DEATHS_IN_A_ROW:
                self._give_up(
                    model, f"{model.deaths} workers in a row ended while they loaded it again: {error}"
                )
            raise
        except MLSrvError as error:
            self._give_up(model, f"a replaced worker cannot load it again: {error}")
        else:
            model.deaths = 0
            if model.id not in self._models:  # it was unloaded meanwhile, from the others
                worker.models.discard(model.id)
                await worker.ask(Kind.UNLOAD, model.id)

    def _give_up(self, model: Loaded, reason: str) -> None:
        model.problem = reason
        logger.error("Model %s in the pool %s: %s", model.name, self._crew.name, reason)
        if not self.served(model):
            self._on_lost(model, f"Model {model.name} is not ready: {reason}")


def _pickled(settings: ModelSettings) -> bytes:
    try:
        return pickle.dumps(settings)
    except Exception as error:  # settings may hold any object of an embedding application
        raise ModelLoadError(
            f"Model {settings.name}: its settings cannot be sent to a worker process: {error}"
        ) from error
