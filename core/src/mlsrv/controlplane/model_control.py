"""Model control: lists, loads and unloads models, at the start and by the calls of the repository API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Mapping

from mlsrv.controlplane.handle import ModelHandle
from mlsrv.controlplane.loader import Loader, broken, check_name
from mlsrv.controlplane.model_sources import ModelSources
from mlsrv.controlplane.registry import Registry
from mlsrv.controlplane.repository_watch import RepositoryWatch
from mlsrv.errors import MLSrvError, ModelLoadError, ModelNotFound, ServerNotReady
from mlsrv.repository import BrokenModel, Listing
from mlsrv.settings import KernelSettings
from mlsrv_protocol.types import RepositoryIndexResponseItem, State

logger = logging.getLogger("mlsrv.models")


class ModelControl:
    """Lists, loads and unloads the models of one running kernel.

    Args:
        registry: the models.
        sources: list the models that could be loaded.
        loader: loads and unloads them.
        settings: of the kernel.
        unread: why a model of which the server was told is not served; it counts while there is no model.
    """

    def __init__(
        self,
        registry: Registry,
        sources: ModelSources,
        loader: Loader,
        settings: KernelSettings,
        unread: str | None = None,
    ) -> None:
        self._unread = unread
        self._registry = registry
        self._sources = sources
        self._loader = loader
        self._load_at_start = settings.load_models_at_startup
        self._poll = settings.model_repository_poll
        self._watch = RepositoryWatch(sources, registry, loader, self._load_all)
        self._startup: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._problem: MLSrvError | None = None

    # --- start and end ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to find and load the models, in the background."""
        if self._poll is None:
            self._sources.repository()
        else:
            self._sources.check_watchable()
            self._watching = asyncio.create_task(self._watch.run(self._poll), name="mlsrv-watch-models")
        self._note(self._sources.given)
        self._startup = asyncio.create_task(self._load_first(), name="mlsrv-load-models")

    async def wait_loaded(self) -> None:
        """Wait until every model that is loaded at the start is READY or has failed.

        Raises:
            ServerNotReady: the server stops before that.
        """
        if self._startup is None:
            raise RuntimeError("The kernel has not been entered.")
        await asyncio.wait({self._startup})
        if self._startup.cancelled():
            raise ServerNotReady("The server is stopping.")

    @property
    def loading(self) -> asyncio.Task[None] | None:
        """The task that loads the models of the start, until it is done."""
        return self._startup if self._startup is not None and not self._startup.done() else None

    async def close(self, end: float | None = None) -> None:
        """Stop watching and loading, then unload everything; see `Loader.close`."""
        tasks = {task for task in (self._watching, self._startup) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._loader.close(end)

    def problems(self) -> list[str]:
        """Why not every model that should be loaded answers now, one sentence each."""
        loading = ["The server is loading its models."] if self.loading is not None else []
        models = [handle for handle in self._registry if handle.wanted and not handle.ready]
        unserved = [] if self._unread is None or self._registry.names() else [self._unread]
        return [
            *([] if self._problem is None else [str(self._registry.details.told(self._problem))]),
            *unserved,
            *loading,
            *(_sentence(handle, str(handle.problem)) for handle in models),
        ]

    def failures(self) -> list[str]:
        """Why not every model that should be loaded is, one sentence each."""
        models = [handle for handle in self._registry if handle.wanted and handle.instance is None]
        found = [] if self._problem is None else [str(self._problem)]
        return found + [_sentence(handle, str(handle.full_problem)) for handle in models]

    # --- the repository API -------------------------------------------------------------------------------

    async def index(self, ready: bool | None = None) -> list[RepositoryIndexResponseItem]:
        """Every version of every model; see `Kernel.index`."""
        found = await self._sources.listing()
        self._note(found)
        known = {(model.name, model.version) for model in found}
        for handle in list(self._registry):
            if (handle.name, handle.version) not in known and self._loader.idle(handle):
                self._registry.forget(handle)
        return [
            RepositoryIndexResponseItem(
                name=handle.name, version=handle.version, state=handle.state, reason=handle.remark
            )
            for handle in self._registry
            if ready is None or handle.ready is ready
        ]

    async def load(self, name: str, version: str | None = None) -> list[ModelHandle]:
        """Load or reload a model; see `Kernel.load`."""
        try:
            check_name(name)
        except ModelLoadError:
            raise ModelNotFound.of(name, version) from None
        stamps = await self._stamps()
        found = [model for model in await self._sources.find(name) if version in (None, model.version)]
        if not found:
            raise ModelNotFound.of(name, version)
        self._watch.note(found, stamps)
        results = await asyncio.gather(*(self._loader.load(model) for model in found), return_exceptions=True)
        if version is None:
            await self._unload_others(name, found)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, ModelHandle)]

    async def unload(self, name: str, version: str | None = None) -> None:
        """Unload a model; see `Kernel.unload`."""
        handles = self._registry.versions(name) if version is None else [self._registry.handle(name, version)]
        for handle in handles:
            self._watch.hold((handle.name, handle.version))
        await asyncio.gather(*(self._loader.unload(handle) for handle in handles))

    # --- inside -------------------------------------------------------------------------------------------

    async def _load_first(self) -> None:
        try:
            await self._load_all()
        except MLSrvError as error:
            self._problem = error
            logger.error("%s", error, exc_info=error.__cause__)

    async def _load_all(self) -> None:
        stamps = await self._stamps()
        found = await self._sources.listing()
        self._problem = None
        self._note(found)
        self._watch.note(found, stamps, held=not self._load_at_start)
        self._registry.complete = True
        if self._load_at_start:
            for model in found:
                self._registry.ensure(model.name, model.version).wanted = True
            # A model that fails has its reason in its handle, and its traceback in the log.
            await asyncio.gather(*(self._loader.load(model) for model in found), return_exceptions=True)

    async def _stamps(self) -> Mapping[str, Hashable]:
        # Before the repository is listed: what changes in between is a change.
        return {} if self._poll is None else await self._sources.stamps()

    def _note(self, found: tuple[Listing, ...] | list[Listing]) -> None:
        """Let the registry know of models that are not loaded (yet)."""
        for model in found:
            handle = self._registry.ensure(model.name, model.version)
            if isinstance(model, BrokenModel) and handle.state is State.UNAVAILABLE:
                handle.full_reason, handle.failure = model.reason, broken(model)

    async def _unload_others(self, name: str, found: list[Listing]) -> None:
        kept = {model.version for model in found}
        gone = [handle for handle in self._registry.versions(name) if handle.version not in kept]
        await asyncio.gather(*(self._loader.unload(handle) for handle in gone))
        for handle in gone:
            if self._loader.idle(handle):
                self._registry.forget(handle)


def _sentence(handle: ModelHandle, problem: str) -> str:
    return problem if handle.name in problem else f"Model {handle.label}: {problem}"
