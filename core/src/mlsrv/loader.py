"""Loading and unloading: turns settings into live instances, and switches them without a gap."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from mlsrv.declared import DeclaredTensors
from mlsrv.errors import ConfigurationError, MLSrvError, ModelLoadError
from mlsrv.executor import Executor
from mlsrv.handle import Instance, ModelHandle
from mlsrv.repository import BrokenModel
from mlsrv.settings import KernelModelSettings, KernelSettings, ModelSettings
from mlsrv_protocol.types import State

if TYPE_CHECKING:
    from mlsrv.kernel import Kernel

logger = logging.getLogger("mlsrv.models")

FORBIDDEN_NAMES = frozenset({"stats"})
"""Names that the paths of the protocol take for themselves."""


class Loader:
    """Loads models of one kernel. Loads of different models run side by side, those of one version in
    turn."""

    def __init__(self, kernel: Kernel, executors: dict[str, Executor]) -> None:
        self._kernel = kernel
        self._executors = executors

    async def load(self, found: ModelSettings | BrokenModel) -> ModelHandle:
        """Load (or reload) one version of a model.

        A live instance keeps serving until the new one is ready, and stays if that fails.

        Raises:
            MLSrvError: the handle has the reason.
        """
        handle = self._kernel.registry.ensure(found.name, found.version)
        handle.wanted = True
        async with handle.lock:
            previous = handle.instance
            if previous is None:
                self._set(handle, State.LOADING)
            try:
                if isinstance(found, BrokenModel):
                    raise ModelLoadError(f"Model {found.name}: {found.reason}")
                handle.settings = found
                instance = await self._make(found)
            except MLSrvError as error:
                self._fail(handle, str(error))
                raise
            except asyncio.CancelledError:
                self._fail(handle, "its load was cancelled")
                raise
            except Exception as error:
                logger.exception("Loading model %s failed", found.name)
                failure = ModelLoadError(
                    f"Model {found.name} failed to load: {type(error).__name__}: {error}"
                )
                self._fail(handle, str(failure))
                raise failure from error
            handle.instance, handle.settings = instance, instance.settings
            self._kernel.registry.refresh(handle.name)
            self._set(handle, State.READY)
        if previous is not None:
            await previous.close(self._grace)
        return handle

    async def unload(self, handle: ModelHandle, *, wanted: bool = False, grace: float | None = None) -> None:
        """Unload one version: new requests are refused at once, those in flight finish. Idempotent."""
        handle.wanted = wanted
        async with handle.lock:
            instance, handle.instance = handle.instance, None
            self._kernel.registry.refresh(handle.name)
            if instance is None:
                handle.reason = ""
                return
            self._set(handle, State.UNLOADING)
            cut = await instance.close(self._grace if grace is None else grace)
            if cut:
                logger.warning("Model %s was unloaded with %d requests still running", handle.name, cut)
            self._set(handle, State.UNAVAILABLE)

    @property
    def _grace(self) -> float:
        return self._kernel.settings.of(KernelSettings).shutdown_timeout

    def _fail(self, handle: ModelHandle, reason: str) -> None:
        if handle.instance is None:
            self._set(handle, State.UNAVAILABLE, reason)
        else:
            handle.reason = f"the last reload failed: {reason}"
            logger.error("Model %s keeps its previous instance: %s", handle.name, reason)

    def _set(self, handle: ModelHandle, state: State, reason: str = "") -> None:
        handle.state, handle.reason = state, reason
        level = logging.ERROR if reason else logging.INFO
        version = f" version {handle.version}" if handle.version is not None else ""
        logger.log(
            level,
            "Model %s%s is %s%s",
            handle.name,
            version,
            state.value,
            f": {reason}" if reason else "",
            extra={"model": handle.name, "version": handle.version},
        )
        settings = handle.settings or ModelSettings(name=handle.name)
        self._kernel.plugins.model_state(self._kernel, settings, state, reason)

    async def _make(self, settings: ModelSettings) -> Instance:
        kernel = self._kernel
        _check_name(settings.name)
        try:
            settings = kernel.resolve_model(settings)
        except ConfigurationError as error:
            raise ModelLoadError(f"Model {settings.name}: {error}") from None
        if settings.implementation is None:
            settings = settings.copy(implementation=await asyncio.to_thread(kernel.catalog.select, settings))
        executor = self._executor_of(settings)
        own = settings.of(KernelModelSettings)
        async with AsyncExitStack() as stack:
            placement = await executor.load(settings)
            stack.push_async_callback(placement.unload)
            interceptors = kernel.plugins.interceptors(kernel, settings, placement.info)
            if own.check_inputs and (placement.info.inputs or placement.info.outputs):
                interceptors.append(DeclaredTensors(settings.name, placement.info))
                interceptors.sort(key=lambda interceptor: interceptor.phase)
            for interceptor in interceptors:
                await stack.enter_async_context(interceptor)
            limit = own.max_in_flight or kernel.settings.of(KernelSettings).max_in_flight
            return Instance(settings, placement, interceptors, stack.pop_all(), limit)

    def _executor_of(self, settings: ModelSettings) -> Executor:
        wanted = (
            settings.of(KernelModelSettings).executor or self._kernel.settings.of(KernelSettings).executor
        )
        if wanted is not None:
            if wanted not in self._executors:
                known = ", ".join(sorted(self._executors))
                raise ModelLoadError(
                    f'Model {settings.name}: unknown executor "{wanted}"; there are {known}.'
                )
            return self._executors[wanted]
        claiming = [executor for executor in self._executors.values() if executor.claims(settings)]
        return max(claiming, key=lambda executor: executor.priority)


def _check_name(name: str) -> None:
    """Refuse names that cannot be addressed or that try to leave the repository."""
    if (
        not name
        or name != name.strip()
        or name in FORBIDDEN_NAMES | {".", ".."}
        or any(character in "/\\" or ord(character) < 32 or ord(character) == 127 for character in name)
    ):
        raise ModelLoadError(f"{name!r} cannot be the name of a model.")
