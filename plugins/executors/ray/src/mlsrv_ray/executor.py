"""Executor: loads models on a Ray cluster."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from attrs import define, evolve, field

from mlsrv.errors import MLSrvError, ModelLoadError
from mlsrv.executor import Executor, Placement
from mlsrv.kernel_api import KernelAPI
from mlsrv.metrics import ProcessMetric, Recorder
from mlsrv.placement import ModelInfo
from mlsrv.settings import ModelSettings
from mlsrv.threads import run_in_own_thread
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.model_files import ModelFiles, artifact_stamp
from mlsrv_executor_kit.plugin_specs import PluginSpecs
from mlsrv_ray.artifacts import Archive, pack, publish
from mlsrv_ray.cluster import Cluster
from mlsrv_ray.failures import ClusterLost
from mlsrv_ray.metrics import CONNECTED, ENDS, REPLICAS, WAITING
from mlsrv_ray.placement import RayPlacement
from mlsrv_ray.replica import LaunchSpec, Replica
from mlsrv_ray.replicas import Replicas
from mlsrv_ray.settings import RayModelSettings, RaySettings

logger = logging.getLogger("mlsrv.ray")

SYNCHRONOUS, ASYNCHRONOUS = 2, 64
"""Requests that a replica runs at once."""


MOST_LEFT = 1000
"""Replicas that have ended and whose own metrics wait for the next reading of metrics, at most."""


class RayExecutor(Executor):
    """Connects to the cluster when the first model is loaded there. It takes the models that name it only."""

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self._settings = kernel.settings.of(RaySettings)
        self._cluster = Cluster(self._settings, self._is_idle, self._cut, self._renew)
        self._connected: asyncio.Task[None] | None = None
        self._placed: dict[RayPlacement, ModelSettings] = {}
        self._left: OrderedDict[int, list[ProcessMetric]] = OrderedDict()
        self._stop_metrics = [
            kernel.metrics.observe_gauge(REPLICAS, self._counts),
            kernel.metrics.observe_gauge(WAITING, self._waiting),
            kernel.metrics.observe_gauge(CONNECTED, self._connection),
            kernel.metrics.observe_processes(self._process_metrics),
        ]

    async def __aexit__(self, *exc_info: object) -> None:
        for stop in self._stop_metrics:
            stop()
        await asyncio.gather(
            *(placement.unload() for placement in list(self._placed)), return_exceptions=True
        )
        if self._connected is not None:
            self._connected.cancel()
            await asyncio.gather(self._connected, return_exceptions=True)
        await self._cluster.close()

    def claims(self, model: ModelSettings) -> bool:
        return False

    async def load(self, model: ModelSettings) -> Placement:
        if self._settings.ray_address is None:
            raise ModelLoadError(
                f"Model {model.name} is to run on a Ray cluster: the setting ray_address names it."
            )
        own = model.of(RayModelSettings)
        if own.ray_artifacts == "working_dir" and "working_dir" in own.ray_runtime_env:
            raise ModelLoadError(f"Model {model.name}: ray_runtime_env has another working_dir already.")
        least, most = _limits(own)
        if not least <= own.ray_replicas <= most:
            raise ModelLoadError(
                f"Model {model.name}: ray_replicas is {own.ray_replicas}, which is not from "
                f"ray_min_replicas, {least}, to ray_max_replicas, {most}."
            )
        try:
            await self._connect()
        except ClusterLost as error:
            raise ModelLoadError(f"Model {model.name} cannot be loaded: {error}") from error
        labels = (model.name, model.version or "")
        loader = await _Loader.of(
            model, self._launch(own), self._cluster.check, self.kernel.metrics.bind(ENDS, labels)
        )
        await loader.replicas.open()
        placement = RayPlacement(
            model.name, loader.info, loader.replicas, lambda: self._cluster.problem, self._forget
        )
        self._placed[placement] = model
        return placement

    async def _connect(self) -> None:
        if self._connected is None or (self._connected.done() and self._connected.exception() is not None):
            self._connected = asyncio.create_task(self._cluster.connect(), name="mlsrv-ray-connect")
        await asyncio.shield(self._connected)

    def _launch(self, own: RayModelSettings) -> LaunchSpec:
        options: dict[str, Any] = {
            "num_cpus": own.ray_num_cpus,
            "num_gpus": own.ray_num_gpus,
            "resources": own.ray_resources or None,
            "scheduling_strategy": "SPREAD" if own.ray_placement == "spread" else "DEFAULT",
        }
        if own.ray_runtime_env:
            options["runtime_env"] = dict(own.ray_runtime_env)
        return LaunchSpec(
            PluginSpecs.of(self.kernel.plugins),
            dict(self.kernel.settings.plain()),
            options,
            self.kernel.metrics.record,
            self._leave,
        )

    def _forget(self, placement: RayPlacement) -> None:
        self._placed.pop(placement, None)

    def _is_idle(self) -> bool:
        return not any(placement.replicas.count for placement in self._placed)

    def _cut(self) -> None:
        for placement in self._placed:
            placement.replicas.cut()

    def _renew(self) -> None:
        for placement in self._placed:
            placement.replicas.renew()

    def _leave(self, process: int, metrics: list[ProcessMetric]) -> None:
        if metrics:
            self._left[process] = metrics
            if len(self._left) > MOST_LEFT:
                self._left.popitem(last=False)

    async def _process_metrics(self) -> dict[int, list[ProcessMetric] | None]:
        found: dict[int, list[ProcessMetric] | None] = dict(self._left)
        self._left.clear()
        asked = (placement.replicas.process_metrics() for placement in self._placed)
        for metrics in await asyncio.gather(*asked):
            found |= metrics
        return found

    def _counts(self) -> Iterator[tuple[Sequence[str], float]]:
        for placement, model in self._placed.items():
            yield (model.name, model.version or ""), float(placement.replicas.count)

    def _waiting(self) -> Iterator[tuple[Sequence[str], float]]:
        for placement, model in self._placed.items():
            yield (model.name, model.version or ""), float(placement.replicas.waiting)

    def _connection(self) -> Iterator[tuple[Sequence[str], float]]:
        if self._connected is not None and self._connected.done() and not self._connected.cancelled():
            yield (), float(self._connected.exception() is None and self._cluster.problem is None)


@define(eq=False)
class _Loader:
    """Starts replicas of one model, all in the version of the first.

    Attributes:
        check: raises `ClusterLost` unless the cluster answers now.
        on_end: called when a replica ended unexpectedly.
        replicas: those that it starts.
        info: the model's description, once one is loaded.
    """

    model: ModelSettings
    launch: LaunchSpec
    pickled: bytes
    files: ModelFiles
    archive: Archive | None
    check: Callable[[], Awaitable[None]]
    on_end: Recorder
    replicas: Replicas = field(init=False)
    info: ModelInfo = field(init=False, factory=ModelInfo)

    def __attrs_post_init__(self) -> None:
        own = self.model.of(RayModelSettings)
        self.replicas = Replicas(
            self.model.name, own.ray_replicas, _limits(own), self.start, lambda: self.on_end(1.0)
        )

    @classmethod
    async def of(
        cls,
        model: ModelSettings,
        launch: LaunchSpec,
        check: Callable[[], Awaitable[None]],
        on_end: Recorder,
    ) -> _Loader:
        """Read the files of a model.

        Raises:
            ModelLoadError: they cannot be read or sent.
        """
        try:
            pickled = pickle.dumps(model)
        except Exception as error:  # settings may hold any object of an embedding application
            what = f"Model {model.name}: its settings cannot be sent to the cluster"
            raise ModelLoadError.of_unexpected(what, error, str(error)) from error
        files = await run_in_own_thread(ModelFiles.of, model)
        is_sent = model.of(RayModelSettings).ray_artifacts != "shared"
        archive = await run_in_own_thread(pack, model) if is_sent else None
        return cls(model, launch, pickled, files, archive, check, on_end)

    async def start(self, number: int) -> Replica:
        """Start a replica and load the model in it. Raises as `Replica.load` does."""
        await self.check()
        await self._check_version()
        own = self.model.of(RayModelSettings)
        launch, archive = self.launch, self.archive
        if archive is not None and own.ray_artifacts == "working_dir":
            launch = launch.in_folder(await run_in_own_thread(publish, archive))
            archive = evolve(archive, content=None)
        replica = Replica(self.model.name, number, launch, self.replicas.ended)
        code = None if archive is not None else self.files.code
        plain = await replica.load(self.pickled, code, archive)
        try:
            self.info = serialization.load_info(plain, own.ray_replicas)
        except Exception as error:  # of any kind: the actor decides what it sends
            replica.kill()
            what = f"Model {self.model.name}: what a replica says of it cannot be read"
            raise ModelLoadError.of_unexpected(what, error) from error
        default = ASYNCHRONOUS if self.info.asynchronous else SYNCHRONOUS
        replica.limit = own.ray_concurrency or default
        return replica

    async def _check_version(self) -> None:
        """Refuse to load other files than the other replicas have.

        Raises:
            MLSrvError: the artifact has changed, and another replica has the one that was loaded.
        """
        if self.archive is not None:
            return
        present = await run_in_own_thread(artifact_stamp, self.model, self.files.code)
        if present == self.files.artifact:
            return
        if self.replicas.count:
            raise MLSrvError(
                f"The artifact of model {self.model.name} has changed: a replica is missing until the "
                "model is loaded again."
            )
        logger.warning("Model %s has no replica left and is loaded with its present files", self.model.name)
        self.files = await run_in_own_thread(ModelFiles.of, self.model)


def _limits(own: RayModelSettings) -> tuple[int, int]:
    return own.ray_min_replicas or own.ray_replicas, own.ray_max_replicas or own.ray_replicas
