"""The kernel: boots plugins, loads models, answers requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mlsrv.catalog import Catalog
from mlsrv.context import CallContext, new_request_id
from mlsrv.discovery import PluginRow
from mlsrv.environment import ModelEnvironment
from mlsrv.errors import ConfigurationError, MLSrvError, ModelLoadError, ModelNotFound, ServerNotReady
from mlsrv.executor import Executor
from mlsrv.handle import ModelHandle
from mlsrv.inline import InlineExecutor
from mlsrv.loader import Loader
from mlsrv.markers import hookimpl
from mlsrv.metrics import Meter, Record, discard, record_all
from mlsrv.offers import (
    ExecutorOffer,
    MeterOffer,
    RepositoryOffer,
    SettingsOffer,
    TransportOffer,
    resolve_target,
)
from mlsrv.plugins import Plugins
from mlsrv.registry import Registry, version_key
from mlsrv.repository import BrokenModel, Listing, ModelRepository
from mlsrv.settings import KernelSettings, ModelSettings, Owner, Settings
from mlsrv.settings.server import KERNEL_DISTRIBUTION
from mlsrv.transport import Transport
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    RepositoryIndexResponseItem,
    State,
)

logger = logging.getLogger("mlsrv.kernel")


class _KernelPlugin:
    """What the kernel itself offers."""

    @hookimpl
    def mlsrv_executors(self) -> ExecutorOffer:
        return ExecutorOffer("inline", InlineExecutor)


def _own_plugin() -> PluginRow:
    return PluginRow("core", KERNEL_DISTRIBUTION, _version(), plugin=_KernelPlugin())


class Kernel:
    """A model server without a socket; see `serve` for one with.

    Several kernels may live in one process; they share nothing. Making one touches no socket, signal,
    environment variable or logging configuration, and neither does entering it::

        async with Kernel(settings, models=[ModelSettings(name="m", implementation=MyModel)]) as kernel:
            await kernel.loaded()
            response = await kernel.infer(InferenceRequest(model_name="m", inputs=[…]))

    Args:
        settings: server settings, typed or as a plain dict.
        plugins: plugin objects (modules or instances) beside the installed ones.
        models: models beside those of the repository.
        discover: whether installed plugins are loaded.
        block: names of plugins or distributions to leave out.

    Raises:
        ConfigurationError: the settings are wrong, or a plugin is; with one sentence for each problem.
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, Any] | None = None,
        *,
        plugins: Iterable[object] = (),
        models: Iterable[ModelSettings] = (),
        discover: bool = True,
        block: Iterable[str] = (),
    ) -> None:
        self.plugins = Plugins(plugins, discover=discover, block=block, own=_own_plugin())
        given = settings if isinstance(settings, Settings) else Settings(**(settings or {}))
        self.settings = given.resolve(self._owners("server"), self.plugins.failures())
        self.model_environment = ModelEnvironment(given.model_layer) if given.model_layer else None
        self.catalog = Catalog(self.plugins)
        self.registry = Registry()
        self.transports: dict[str, Transport] = {}
        self.record: Record = discard
        self.stopping = False
        self._own = self.settings.of(KernelSettings)
        self._models = list(models)
        self._repository: ModelRepository | None = None
        self._loader: Loader | None = None
        self._executors: dict[str, Executor] = {}
        self._startup: asyncio.Task[None] | None = None
        self._startup_problem: str | None = None
        self._stack: AsyncExitStack | None = None
        for row in self.plugins.failed:
            logger.warning(
                "The plugin %s did not load: %s: %s", row.label, type(row.error).__name__, row.error
            )

    # --- lifetime -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Kernel:
        if self._stack is not None:
            raise RuntimeError("This kernel is running already.")
        self.stopping = False
        async with AsyncExitStack() as stack:
            self.record = record_all([_made(offer, self, Meter) for offer in self._enabled(MeterOffer)])
            for offer in self.plugins.offers(ExecutorOffer):
                executor = _made(offer, self, Executor)
                self._executors[offer.name] = await stack.enter_async_context(executor)
                stack.callback(self._executors.pop, offer.name)
            self._loader = Loader(self, self._executors)
            self._repository = self._make_repository()
            for _, lifespan in self.plugins.lifespans(self):
                await stack.enter_async_context(lifespan)
            stack.push_async_callback(self._unload_all)
            self._startup = asyncio.create_task(self._load_all(), name="mlsrv-load-models")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.stopping = True
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def loaded(self) -> None:
        """Wait until every model that is loaded at the start is READY or has failed (see `problems`)."""
        if self._startup is None:
            raise RuntimeError("Enter the kernel first: async with kernel: …")
        await asyncio.shield(self._startup)

    async def serve(
        self, stop: Callable[[], Awaitable[object]], started: Callable[[], object] | None = None
    ) -> None:
        """Open the enabled transports and serve until ``await stop()`` returns, then shut down gracefully:
        not ready, stop accepting, and up to ``shutdown_timeout`` seconds for what is in flight.

        Args:
            stop: called once; what it returns is awaited.
            started: called once all transports listen.

        Raises:
            ConfigurationError: a transport cannot start, or none is enabled.
            ModelLoadError: a model failed to load at the start and ``on_load_failure`` is "exit".
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._stop_transports)
            await self._start_transports()
            if started is not None:
                started()
            await self._until(stop)

    async def _until(self, stop: Callable[[], Awaitable[object]]) -> None:
        waiting = asyncio.ensure_future(stop())
        try:
            if self._own.on_load_failure == "exit" and self._startup is not None:
                await asyncio.wait({waiting, self._startup}, return_when=asyncio.FIRST_COMPLETED)
                problems = self.problems() if self._startup.done() and not waiting.done() else []
                if problems:
                    raise ModelLoadError("; ".join(problems))
            await waiting
        finally:
            waiting.cancel()

    async def _start_transports(self) -> None:
        offers = self._enabled(TransportOffer)
        if not offers:
            raise ConfigurationError(
                "No transport is installed and enabled; install one (pip install mlsrv-rest)."
            )
        for offer in offers:
            transport = _made(offer, self, Transport)
            self.transports[offer.name] = transport
            await transport.start()

    async def _stop_transports(self) -> None:
        self.stopping = True
        transports, self.transports = dict(self.transports), {}
        grace = self._own.shutdown_timeout
        results = await asyncio.gather(
            *(transport.stop(grace) for transport in transports.values()), return_exceptions=True
        )
        for name, result in zip(transports, results, strict=True):
            if isinstance(result, Exception):
                logger.error("The transport %s failed to stop", name, exc_info=result)

    # --- data plane -----------------------------------------------------------------------------------------

    async def infer(self, request: InferenceRequest, context: CallContext | None = None) -> InferenceResponse:
        """Answer one request to the model that ``request.model_name`` and ``request.model_version`` name.

        Raises:
            MLSrvError: with a transport-neutral code and a sentence for the client; never anything else.
        """
        if context is None:
            context = CallContext(request_id=request.id or new_request_id())
        instance = self.registry.live.get((request.model_name, request.model_version))
        if instance is None:
            raise self.registry.why_not(request.model_name, request.model_version)
        try:
            return await instance.infer(request, context)
        except MLSrvError:
            raise
        except Exception as error:
            raise _internal(error, context) from error

    async def stream(
        self, requests: InferenceRequest | AsyncIterator[InferenceRequest], context: CallContext | None = None
    ) -> AsyncIterator[InferenceResponse]:
        """Answer with any number of responses. The first request names the model; closing the iterator stops
        it.

        Raises:
            MLSrvError: as `infer`; before the first response for everything that is known by then.
        """
        if isinstance(requests, InferenceRequest):
            first, requests = requests, _one(requests)
        else:
            first = await anext(requests)
            requests = _then(first, requests)
        if context is None:
            context = CallContext(request_id=first.id or new_request_id())
        instance = self.registry.live.get((first.model_name, first.model_version))
        if instance is None:
            raise self.registry.why_not(first.model_name, first.model_version)
        responses = instance.stream(requests, context)
        try:
            async for response in responses:
                yield response
        except MLSrvError:
            raise
        except Exception as error:
            raise _internal(error, context) from error
        finally:
            await responses.aclose()  # type: ignore[attr-defined]  # an async generator

    async def call(
        self, name: str, version: str | None, method: str, arguments: Mapping[str, Any], context: CallContext
    ) -> Any:
        """Call a custom handler of a model by its attribute name. Raises as `infer`."""
        return await self.registry.handle(name, version).loaded().placement.call(method, arguments, context)

    # --- control plane --------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether every model that should be loaded is READY and its executor healthy."""
        return not self.problems()

    def problems(self) -> list[str]:
        """Why the server is not ready, one sentence each; empty when it is."""
        if self._stack is None or self.stopping:
            return ["The server is stopping."] if self.stopping else ["The server has not started."]
        found = [] if self._startup is None or self._startup.done() else ["The server is loading its models."]
        found += [self._startup_problem] if self._startup_problem else []
        for executor in self._executors.values():
            if executor.problem:
                found.append(executor.problem)
        for handle in self.registry:
            if handle.wanted and handle.problem is not None:
                named = handle.name if handle.version is None else f"{handle.name} version {handle.version}"
                found.append(f"Model {named} is not ready: {handle.problem}")
        return found

    def server_metadata(self) -> MetadataServerResponse:
        """Name, version and the extensions that work."""
        extensions = list(self._own.extensions)
        for transport in self.transports.values():
            extensions += [name for name in transport.extensions if name not in extensions]
        return MetadataServerResponse(
            name=self._own.server_name, version=self._own.server_version or _version(), extensions=extensions
        )

    def model_names(self) -> list[str]:
        """Every known model, sorted."""
        return self.registry.names()

    def handle(self, name: str, version: str | None = None) -> ModelHandle:
        """What is known of a model; without a version, of its default. Raises `ModelNotFound`."""
        return self.registry.handle(name, version)

    def model_ready(self, name: str, version: str | None = None) -> bool:
        """Whether the model answers requests now. Raises `ModelNotFound`."""
        return self.handle(name, version).ready

    def model_metadata(self, name: str, version: str | None = None) -> MetadataModelResponse:
        """The metadata of a loaded model. Raises `ModelNotFound`, `ModelNotReady`."""
        handle = self.handle(name, version)
        info = handle.loaded().placement.info
        loaded = [other.version for other in self.registry.versions(name) if other.instance and other.version]
        return MetadataModelResponse(
            name=name,
            platform=info.platform,
            versions=list(info.versions) or loaded,
            inputs=list(info.inputs),
            outputs=list(info.outputs),
        )

    async def index(self, ready: bool | None = None) -> list[RepositoryIndexResponseItem]:
        """Every version of every model, loaded or only in the repository, with its state and reason;
        sorted."""
        for found in await self.listing():
            handle = self.registry.ensure(found.name, found.version)
            if isinstance(found, BrokenModel) and handle.instance is None:
                handle.reason = found.reason
        handles = sorted(self.registry, key=lambda handle: (handle.name, version_key(handle.version)))
        return [
            RepositoryIndexResponseItem(
                name=handle.name, version=handle.version, state=handle.state, reason=handle.reason
            )
            for handle in handles
            if ready is None or handle.ready is ready
        ]

    async def listing(self) -> list[Listing]:
        """Every model that could be loaded, read afresh: those given and those of the repository, or else the
        one that the environment describes. Works on a kernel that was not entered, too.

        Raises:
            ConfigurationError: there is no such repository, or it cannot be read.
        """
        repository = self._repository or self._make_repository()
        found: list[Listing] = [*self._models, *(await repository.list() if repository is not None else ())]
        default = self.model_environment.default_model() if self.model_environment and not found else None
        return [*found, default] if default is not None else found

    def resolve_model(self, model: ModelSettings) -> ModelSettings:
        """A model's settings as it would be loaded with them: those of the environment laid over them, and
        every field of the kernel and of plugins converted.

        Raises:
            ConfigurationError: with one sentence for each unknown key and each value of a wrong type.
        """
        overlay = self.model_environment.overlay if self.model_environment else None
        return model.resolve(self._owners("model"), overlay)

    async def load(self, name: str, version: str | None = None) -> list[ModelHandle]:
        """Load or reload a model: every version that the repository has, or one. Versions that are loaded but
        no longer in the repository are unloaded.

        Raises:
            ModelNotFound: the repository has no such model or version.
            MLSrvError: a version failed to load; the others are loaded all the same.
        """
        loader = self._running()
        found = [model for model in await self._find(name) if version is None or model.version == version]
        if not found:
            raise ModelNotFound.of(name, version)
        results = await asyncio.gather(*(loader.load(model) for model in found), return_exceptions=True)
        if version is None:
            kept = {model.version for model in found}
            gone = [handle for handle in self.registry.versions(name) if handle.version not in kept]
            await asyncio.gather(*(loader.unload(handle) for handle in gone))
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, ModelHandle)]

    async def unload(self, name: str, version: str | None = None) -> None:
        """Unload a model: all versions, or one. Requests in flight finish.

        Raises:
            ModelNotFound: the model or the version is unknown.
        """
        loader = self._running()
        handles = self.registry.versions(name) if version is None else [self.registry.handle(name, version)]
        await asyncio.gather(*(loader.unload(handle) for handle in handles))

    # --- inside ---------------------------------------------------------------------------------------------

    def _owners(self, scope: str) -> list[Owner]:
        return [
            Owner(distribution, offer.cls)
            for distribution, offer in self.plugins.attributed(SettingsOffer)
            if offer.scope == scope
        ]

    def _enabled(self, kind: Any) -> list[Any]:
        return [offer for offer in self.plugins.offers(kind) if offer.enabled(self.settings)]

    def _running(self) -> Loader:
        if self._loader is None or self._stack is None or self.stopping:
            raise ServerNotReady("The server is not running.")
        return self._loader

    def _make_repository(self) -> ModelRepository | None:
        root, wanted = self._own.model_repository_root, self._own.model_repository_implementation
        if root is None:
            return None
        offers = {offer.name: offer for offer in self.plugins.offers(RepositoryOffer)}
        name = wanted or ("files" if "files" in offers else next(iter(offers), None))
        if name is None:
            raise ConfigurationError(
                "No model repository is installed; install one (pip install mlsrv-files)."
            )
        if name in offers:
            target = offers[name].target
        elif "." in name:
            target = ":".join(name.replace(":", ".").rsplit(".", 1))
        else:
            known = ", ".join(offers) or "none"
            raise ConfigurationError(
                f'model_repository_implementation: unknown "{name}"; installed are {known}.'
            )
        try:
            return resolve_target(target)(root, **self._own.model_repository_implementation_args)  # type: ignore[no-any-return]  # checked by use
        except (ImportError, AttributeError, TypeError) as error:
            raise ConfigurationError(f"model_repository_implementation {name}: {error}") from error

    async def _find(self, name: str) -> list[Listing]:
        found: list[Listing] = [model for model in self._models if model.name == name]
        if self._repository is not None:
            found += await self._repository.find(name)
        return found or [model for model in await self.listing() if model.name == name]

    async def _load_all(self) -> None:
        loader = self._loader
        if loader is None or self.stopping:  # left before this task had its first turn
            return
        try:
            found = await self.listing()
        except Exception as error:
            self._startup_problem = f"The model repository cannot be listed: {error}"
            logger.error("%s", self._startup_problem, exc_info=not isinstance(error, MLSrvError))
            return
        for model in found:
            self.registry.ensure(model.name, model.version)
        if not self._own.load_models_at_startup:
            return
        results = await asyncio.gather(*(loader.load(model) for model in found), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, MLSrvError):
                raise result

    async def _unload_all(self) -> None:
        self.stopping = True
        if self._startup is not None and not self._startup.done():
            self._startup.cancel()
            await asyncio.gather(self._startup, return_exceptions=True)
        if self._loader is not None:
            grace = 0.0 if not self._own.shutdown_timeout else self._own.shutdown_timeout
            await asyncio.gather(
                *(self._loader.unload(handle, wanted=True, grace=grace) for handle in self.registry)
            )


def _made(offer: Any, kernel: Kernel, kind: type[Any]) -> Any:
    """Import what an offer names and make it."""
    try:
        cls = resolve_target(offer.target)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f'"{offer.name}" cannot be imported: {type(error).__name__}: {error}'
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        raise ConfigurationError(
            f'"{offer.name}" is {cls!r}, not a subclass of {kind.__module__}.{kind.__name__}.'
        )
    return cls(kernel)


def _internal(error: Exception, context: CallContext) -> MLSrvError:
    logger.error(
        "Request %s failed inside the server",
        context.request_id,
        exc_info=error,
        extra={"request_id": context.request_id},
    )
    return MLSrvError(
        f"Internal error while request {context.request_id} was answered; the server's log has details."
    )


async def _one(request: InferenceRequest) -> AsyncIterator[InferenceRequest]:
    yield request


async def _then(
    first: InferenceRequest, rest: AsyncIterator[InferenceRequest]
) -> AsyncIterator[InferenceRequest]:
    yield first
    async for request in rest:
        yield request


def _version() -> str:
    try:
        return version(KERNEL_DISTRIBUTION)
    except PackageNotFoundError:
        return "0"


__all__ = ["Kernel", "ModelHandle", "State"]
