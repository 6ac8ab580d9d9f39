"""Loader: loads, reloads and unloads models; a reload answers requests without a gap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from unicodedata import category

from mlsrv.controlplane.handle import ModelHandle
from mlsrv.controlplane.registry import Registry
from mlsrv.controlplane.verified_files import verified_settings
from mlsrv.dataplane.admission import Admission
from mlsrv.dataplane.instance import Instance
from mlsrv.dataplane.model_meter import ModelMeter
from mlsrv.errors import ConfigurationError, MLSrvError, ModelLoadError, ServerNotReady
from mlsrv.executor import Executor
from mlsrv.handlers import check_root_paths
from mlsrv.kernel_api import KernelAPI
from mlsrv.placement import Placement
from mlsrv.plugins.manager import Plugins
from mlsrv.repository import BrokenModel, Listing
from mlsrv.settings import KernelModelSettings, KernelSettings, ModelSettings
from mlsrv.telemetry.error_details import copy_of
from mlsrv_protocol.types import State
from mlsrv_telemetry_kit.meters import Meters
from mlsrv_telemetry_kit.metrics import MetricClash

logger = logging.getLogger("mlsrv.models")

UNLOAD_TIME = 5.0
"""Seconds that models have to unload when the server stops, after the time of the requests in flight."""

UNLOAD_WAIT = 1.0
"""Seconds that an unload waits for a load that runs; then it cancels that."""

OVERTAKE = 10.0
"""Seconds that a load waits for the one before it; then it cancels that. They double each time."""

ABANDON = 1.0
"""Seconds that a load which is cancelled has to end; then it is left behind."""

_T = TypeVar("_T")

FORBIDDEN_NAMES = frozenset({"stats", ".", ".."})
"""Names that the paths of the protocol, or of file systems, take for themselves."""


class Loader:
    """Loads, reloads and unloads the models of one kernel.

    Different models load side by side, one model's loads and unloads one after the other. Each runs in a task
    of its own, so that a caller who goes away leaves no model half loaded. Callers who want a model while it
    is being loaded already share one further load, with the newest settings.

    Args:
        api: the kernel, for the hooks of plugins.
        plugins: make interceptors and hear of states.
        registry: has the handles of the models.
        executors: by name.
        metrics: records the metrics of the models.
        admission: counts the requests to all models.
        settings: of the kernel.
        resolve: converts the settings of a model, those of the environment laid over them.
        select: finds the runtime of a model whose settings name none; called in a thread.
    """

    def __init__(
        self,
        api: KernelAPI,
        plugins: Plugins,
        registry: Registry,
        executors: Mapping[str, Executor],
        *,
        metrics: Meters,
        admission: Admission,
        settings: KernelSettings,
        resolve: Callable[[ModelSettings], ModelSettings],
        select: Callable[[ModelSettings], str],
    ) -> None:
        self._api = api
        self._plugins = plugins
        self._registry = registry
        self._executors = executors
        self._metrics = metrics
        self._admission = admission
        self._settings = settings
        self._resolve = resolve
        self._select = select
        self._closing = False
        self._loads: set[asyncio.Task[Any]] = set()
        self._unloads: set[asyncio.Task[Any]] = set()
        self._next: dict[ModelHandle, _NextLoad] = {}
        self._current: dict[ModelHandle, _Current] = {}
        self._overtake: dict[ModelHandle, float] = {}
        self._end: float | None = None

    async def load(self, found: Listing) -> ModelHandle:
        """Load (or reload) one version of a model.

        A live instance keeps serving until the new one is ready, and stays if that fails.

        Raises:
            MLSrvError: the handle has the reason.
        """
        handle = self._registry.ensure(found.name, found.version)
        following = self._next.get(handle)
        if following is None:
            self._check_open()
            following = self._next[handle] = _NextLoad(found)
            following.task = _start(self._loads, self._load_next(handle, following))
        following.found = found
        await _outcome(following.task)
        return handle

    async def unload(self, handle: ModelHandle) -> None:
        """Unload one version: new requests are refused at once, those in flight finish. A load that goes on
        is cancelled. Idempotent."""
        self._check_open()
        handle.wanted = False
        # A load that is asked for from now on comes after this unload.
        self._next.pop(handle, None)
        await _outcome(_start(self._unloads, self._unload(handle)))

    def idle(self, handle: ModelHandle) -> bool:
        """Return True if a model is neither loaded nor about to be."""
        return handle.instance is None and not handle.lock.locked() and handle not in self._next

    async def close(self, end: float | None = None) -> None:
        """Cancel loads and unload everything, in bounded time.

        Args:
            end: time of the event loop until which requests in flight may finish; ``shutdown_timeout`` from
                now if not given. Unloading has `UNLOAD_TIME` more.
        """
        self._closing = True
        now = asyncio.get_running_loop().time()
        self._end = end = now + self._settings.shutdown_timeout if end is None else end
        for task in self._loads:
            task.cancel()
        await self._settle(max(end, now + 2 * ABANDON))
        for handle in self._registry:
            if handle.instance is not None:
                _start(self._unloads, self._unload(handle)).set_name(handle.label)
        await self._settle(max(end, asyncio.get_running_loop().time()) + UNLOAD_TIME)
        for task in self._unloads:
            logger.error("Model %s did not unload in time and is left behind", task.get_name())
            task.cancel()

    # --- tasks --------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closing:
            raise ServerNotReady("The server is stopping.")

    async def _settle(self, end: float) -> None:
        """Wait until no task is left, those that are started meanwhile included, or until a time of the
        loop."""
        while running := self._loads | self._unloads:
            remaining = end - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            await asyncio.wait(running, timeout=remaining)

    def _cancel(self, handle: ModelHandle, reason: str) -> None:
        current = self._current.get(handle)
        if current is not None and not current.reason:
            current.reason = reason
            current.task.cancel()

    async def _wait_for_current(self, handle: ModelHandle, patience: float, why: str) -> bool:
        """Wait for the load that runs now. Returns True if it took too long and was cancelled."""
        current = self._current.get(handle)
        if current is None:
            return False
        done, _ = await asyncio.wait({current.task}, timeout=patience)
        if done or self._current.get(handle) is not current:
            return False
        self._cancel(handle, f"The load was cancelled, as {why}.")
        return True

    def _grace(self) -> float:
        """Seconds that requests in flight have from now on."""
        if self._end is None:
            return self._settings.shutdown_timeout
        return max(0.0, self._end - asyncio.get_running_loop().time())

    async def _load_next(self, handle: ModelHandle, following: _NextLoad) -> None:
        patience = self._overtake.get(handle, OVERTAKE)
        if await self._wait_for_current(handle, patience, f"a newer one waited for it for {patience:g} s"):
            # Longer the next time: clients that ask again and again must not keep it from ever loading.
            self._overtake[handle] = 2 * patience
        async with handle.lock:
            if self._next.get(handle) is following:
                del self._next[handle]
            previous = handle.instance
            if previous is None:
                self._set(handle, State.LOADING)
            try:
                await self._load_instance(handle, following.found)
            except asyncio.CancelledError:
                self._failed(handle, ModelLoadError("The load was cancelled."))
                raise
            except Exception as error:
                failure = _load_error(following.found, error)
                self._failed(handle, failure)
                raise failure from failure.__cause__
            self._overtake.pop(handle, None)
            handle.wanted = True
            self._registry.refresh(handle.name)
            self._set(handle, State.READY)
        if previous is not None:
            # Not cancelled with the loads: it has requests in flight, and must be unloaded.
            await _outcome(_start(self._unloads, self._retire(handle.label, previous)))

    async def _unload(self, handle: ModelHandle) -> None:
        await self._wait_for_current(handle, UNLOAD_WAIT, "the model was unloaded")
        async with handle.lock:
            instance, handle.instance = handle.instance, None
            self._registry.refresh(handle.name)
            if instance is None:
                handle.reason = ""
                return
            self._set(handle, State.UNLOADING)
            await self._retire(handle.label, instance)
            self._set(handle, State.UNAVAILABLE)

    async def _retire(self, name: str, instance: Instance) -> None:
        cut = await instance.close(self._grace())
        if cut:
            logger.warning("Model %s was unloaded with %d requests still running", name, cut)

    # --- states -------------------------------------------------------------------------------------------

    def _failed(self, handle: ModelHandle, error: MLSrvError) -> None:
        reason = str(error)
        cause = error if error.__cause__ is not None else None
        if handle.instance is None:
            self._set(handle, State.UNAVAILABLE, reason, cause)
        else:
            handle.reason = f"The last reload failed: {reason}"
            logger.error("Model %s keeps its previous instance: %s", handle.name, reason, exc_info=cause)
        # Not the error itself: the frames of its traceback hold what the load had made.
        handle.failure = copy_of(error)

    def _set(
        self, handle: ModelHandle, state: State, reason: str = "", cause: BaseException | None = None
    ) -> None:
        handle.state, handle.reason = state, reason
        logger.log(
            logging.ERROR if reason else logging.INFO,
            "Model %s is %s%s",
            handle.label,
            state.value,
            f": {reason}" if reason else "",
            exc_info=cause,
            extra={"model": handle.name, "version": handle.version},
        )
        settings = handle.settings or ModelSettings(name=handle.name)
        self._plugins.model_state(self._api, settings, state, reason)

    # --- making -------------------------------------------------------------------------------------------

    async def _load_instance(self, handle: ModelHandle, found: Listing) -> None:
        """Give a handle a new instance. Raises `ModelLoadError` if that is cancelled for a reason."""
        current = self._current[handle] = _Current(asyncio.create_task(self._install(handle, found)))
        try:
            await current.task
        except asyncio.CancelledError:
            if current.reason and current.task.cancelled():
                raise ModelLoadError(f"Model {found.name}: {current.reason}") from None
            raise
        finally:
            del self._current[handle]

    async def _install(self, handle: ModelHandle, found: Listing) -> None:
        handle.instance = await self._make(handle, found)

    async def _make(self, handle: ModelHandle, found: Listing) -> Instance:
        if isinstance(found, BrokenModel):
            raise broken(found)
        check_name(found.name)
        handle.settings = shown = self._resolve(found)
        for sentence in shown.ignored:
            logger.warning("Model %s: %s; it is ignored", shown.name, sentence)
        async with AsyncExitStack() as stack:
            check = self._plugins.verified_folder(self._api, shown)
            settings, found_in_files = await verified_settings(stack, check, shown, self._resolve)
            if settings.implementation is None:
                settings = settings.copy(implementation=await asyncio.to_thread(self._select, settings))
            own = settings.of(KernelModelSettings)
            placement = await self._placed(settings)
            stack.push_async_callback(placement.unload)
            for metric in placement.info.metrics:
                self._metrics.bind(metric, (settings.name, settings.version or ""))
            interceptors = self._plugins.interceptors(self._api, settings, placement.info)
            for interceptor in interceptors:
                await stack.enter_async_context(interceptor)
            # Nothing is awaited from here until the instance serves, so that two models cannot both pass.
            check_root_paths(
                settings.name,
                placement.info.handlers,
                ((other.name, other.info.handlers) for other in self._registry if other.info is not None),
            )
            # Others see the model's own folder, not the private copy.
            handle.settings = settings if settings.source == shown.source else shown
            handle.verification = found_in_files
            admission = Admission(
                f"Model {settings.name}",
                "model",
                own.max_in_flight or self._settings.max_in_flight,
                own.max_in_flight_bytes or self._settings.max_in_flight_bytes,
                self._admission,
            )
            meter = ModelMeter(self._metrics, settings.name, settings.version) if self._metrics else None
            return Instance(
                settings,
                placement,
                interceptors,
                stack.pop_all(),
                admission,
                handle.statistics,
                meter,
                own.request_timeout if settings.sets("request_timeout") else self._settings.request_timeout,
            )

    async def _placed(self, settings: ModelSettings) -> Placement:
        """Load a model with its executor, within its ``load_timeout``."""
        own = settings.of(KernelModelSettings)
        limit = own.load_timeout if settings.sets("load_timeout") else self._settings.load_timeout
        loading = asyncio.create_task(self._executor_of(settings).load(settings))
        try:
            await asyncio.wait({loading}, timeout=limit)
        except asyncio.CancelledError:
            await self._abandon(loading, settings.name)
            raise
        if loading.done():
            return loading.result()
        await self._abandon(loading, settings.name)
        raise ModelLoadError(f"Model {settings.name} did not load within its load_timeout of {limit:g} s.")

    async def _abandon(self, loading: asyncio.Task[Placement], name: str) -> None:
        """Cancel a load; what it loads all the same is unloaded."""

        def ended(task: asyncio.Task[Placement]) -> None:
            if not task.cancelled() and task.exception() is None:
                _start(self._unloads, task.result().unload()).set_name(name)

        loading.cancel()
        loading.add_done_callback(ended)
        if (await asyncio.wait({loading}, timeout=ABANDON))[1]:
            logger.warning("The load of model %s does not end and is left behind", name)

    def _executor_of(self, settings: ModelSettings) -> Executor:
        return self._executors[choose_executor(settings, self._executors, self._settings.executor)]


def choose_executor(model: ModelSettings, executors: Mapping[str, Executor], default: str | None) -> str:
    """Return the name of the executor that a model runs on.

    Args:
        model: the model's settings.
        executors: by name.
        default: the one that the server's settings name, or None.

    Raises:
        ModelLoadError: the settings name one that does not exist.
    """
    wanted = model.of(KernelModelSettings).executor or default
    if wanted is None:
        claiming = [name for name, executor in executors.items() if executor.claims(model)]
        return max(claiming, key=lambda name: executors[name].priority)
    if wanted not in executors:
        known = ", ".join(sorted(executors))
        raise ModelLoadError(f'Model {model.name}: unknown executor "{wanted}"; there are {known}.')
    return wanted


class _Current:
    """A load that runs: its task, and why it was cancelled."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.reason = ""


class _NextLoad:
    """A load that has not begun: its task, and the newest settings to load."""

    def __init__(self, found: Listing) -> None:
        self.found = found
        self.task: asyncio.Task[None]


def _start(tasks: set[asyncio.Task[Any]], work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    def ended(task: asyncio.Task[_T]) -> None:
        tasks.discard(task)
        if not task.cancelled():
            task.exception()  # counts as seen, though the caller may be gone: the handle has the reason

    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(ended)
    return task


async def _outcome(task: asyncio.Task[_T]) -> _T:
    """Wait for a task that goes on if the caller is cancelled.

    Raises:
        ServerNotReady: the task was cancelled.
    """
    await asyncio.wait({task})
    if task.cancelled():
        raise ServerNotReady("The server is stopping.")
    return task.result()


def _load_error(found: Listing, error: Exception) -> MLSrvError:
    if isinstance(error, ConfigurationError | MetricClash):
        return ModelLoadError(f"Model {found.name}: {error}")
    if isinstance(error, MLSrvError):
        return error
    failure = ModelLoadError.of_unexpected(f"Model {found.name} failed to load", error)
    failure.__cause__ = error
    return failure


def check_name(name: str) -> None:
    """Refuse names that cannot be addressed or that try to leave the repository.

    Raises:
        ModelLoadError: the name is refused.
    """
    if (
        not name
        or name != name.strip()
        or name in FORBIDDEN_NAMES
        or any(character in "/\\" or category(character) in ("Cc", "Cs") for character in name)
    ):
        raise ModelLoadError(f"{name!r} cannot be the name of a model.")


def broken(found: BrokenModel) -> ModelLoadError:
    """Return the error of a model that its repository cannot describe. Its text may have paths."""
    error = ModelLoadError(f"Model {found.name}: {found.reason}")
    error.what, error.raised = f"Model {found.name}: its description cannot be used", "ConfigurationError"
    return error
