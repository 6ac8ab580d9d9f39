"""Kernel: wires the parts of a server together, and passes requests and control calls on to them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mlsrv.controlplane.gauges import show_models
from mlsrv.controlplane.handle import ModelHandle
from mlsrv.controlplane.loader import Loader
from mlsrv.controlplane.model_control import ModelControl
from mlsrv.controlplane.model_sources import ModelSources
from mlsrv.controlplane.registry import Registry
from mlsrv.dataplane.admission import Admission
from mlsrv.errors import (
    ConfigurationError,
    MLSrvError,
    PluginError,
    ServerNotReady,
)
from mlsrv.executor import Executor
from mlsrv.hosting.catalog import Catalog
from mlsrv.kernel.builtin import kernel_plugin, kernel_version
from mlsrv.kernel.certificates import watching
from mlsrv.kernel.guard import RequestGuard
from mlsrv.kernel.model_views import ModelViews
from mlsrv.kernel.request_calls import RequestCalls
from mlsrv.kernel.serving import Serving
from mlsrv.plugins.factory import make_offered
from mlsrv.plugins.manager import Plugins
from mlsrv.plugins.offers import ExecutorOffer, MeterOffer, SettingsOffer, TransportOffer
from mlsrv.repository import Listing
from mlsrv.settings import KernelSettings, ModelSettings, Owner, Settings
from mlsrv.settings.model_environment import ModelEnvironment
from mlsrv.telemetry.access_log import AccessLog
from mlsrv.telemetry.audit_log import AuditLog
from mlsrv.telemetry.error_details import ErrorDetails, is_loopback
from mlsrv.transport import Transport
from mlsrv_protocol.types import (
    MetadataServerResponse,
    RepositoryIndexResponseItem,
)
from mlsrv_settings_kit.sections import FlatSettings
from mlsrv_telemetry_kit.meters import Meters
from mlsrv_telemetry_kit.metrics import Meter

if TYPE_CHECKING:
    from mlsrv.kernel.blocking import BlockingKernel

logger = logging.getLogger("mlsrv.kernel")

OPEN = (
    "Every machine that reaches this server may use its models, load and unload them: no authorizer is "
    "installed. Set host to 127.0.0.1, or install and configure an authorizer, or set insecure to true"
)


class _Switchable(Protocol):
    """An offer that the settings may turn off."""

    @property
    def enabled(self) -> Callable[[Settings], bool]: ...


_S = TypeVar("_S", bound=_Switchable)


class Kernel(RequestCalls, ModelViews):
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

    Attributes:
        settings: every setting, resolved.
        plugins: the plugins, and what each of them offers.
        catalog: codecs and runtimes.
        shared: what the hooks of plugins share; closed when the kernel is left.
        registry: the models; see `handle` for one.
        admission: the requests to all models that are waiting or running now.
        access: notes requests for the access log, while that is on and the kernel runs.
        audit: notes control actions and refusals, while the audit log is on and the kernel runs.
        guard: decides about each request while the kernel runs, if an authorizer is installed, else None.
        meters: the backends of metrics, by name.
        metrics: records with every meter.
        stopping: whether the server is shutting down.

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
        self.plugins = Plugins(plugins, discover=discover, block=block, own=kernel_plugin())
        given = settings if isinstance(settings, Settings) else Settings(**(settings or {}))
        self.settings = given.resolve(self._owners("server"), self.plugins.failures())
        _report_ignored(self.settings)
        self.catalog = Catalog(self.plugins, self.settings.plain())
        self.shared = self.catalog.shared
        self._extensions = self.plugins.extensions()
        own = self.settings.of(KernelSettings)
        self._details = ErrorDetails(own.error_details)
        self.registry = Registry(self._details, own.unloaded_models == "not_found")
        self.access: AccessLog | None = None
        self.audit: AuditLog | None = None
        self.guard: RequestGuard | None = None
        self.meters: dict[str, Meter] = {}
        self.metrics = Meters()
        self.stopping = False
        read = [name for offer in self.plugins.offers(SettingsOffer) for name in offer.parameters]
        self._environment = ModelEnvironment(given.model_layer, read) if given.model_layer else None
        self._own = own
        _check_executor(own.executor, [offer.name for offer in self.plugins.offers(ExecutorOffer)])
        self.admission = Admission(
            "The server", "server", own.max_total_in_flight, own.max_total_in_flight_bytes
        )
        self._sources = ModelSources(list(models), self.plugins, own, self._environment)
        self._executors: dict[str, Executor] = {}
        self._control: ModelControl | None = None
        self._serving: Serving | None = None
        self._stack: AsyncExitStack | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        for row in self.plugins.failed:
            logger.warning(
                "The plugin %s did not load: %s: %s", row.label, type(row.error).__name__, row.error
            )

    # --- lifetime -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Kernel:
        if self._stack is not None:
            raise RuntimeError("This kernel is running already.")
        self._stack = stack = AsyncExitStack()
        self._loop = asyncio.get_running_loop()
        self.stopping = False
        self.registry.clear()
        try:
            await self._boot(stack)
        except BaseException:
            await self._shut_down()
            raise
        return self

    async def _boot(self, stack: AsyncExitStack) -> None:
        if self._own.access_log:
            self.access = await stack.enter_async_context(AccessLog())
        if self._own.audit_log:
            self.audit = await stack.enter_async_context(AuditLog(self._own.audit_log))
        self.meters = {offer.name: make_offered(offer, self, Meter) for offer in self._enabled(MeterOffer)}
        self.metrics = Meters(list(self.meters.values()))
        show_models(self.registry, self.metrics)
        for offer in self.plugins.offers(ExecutorOffer):
            executor: Executor = make_offered(offer, self, Executor)
            await _enter(stack, executor, f'The executor "{offer.name}"')
            self._executors[offer.name] = executor
        for label, lifespan in self.plugins.lifespans(self):
            await _enter(stack, lifespan, f"The plugin {label}")
        authorizer = self.plugins.authorizer(self)
        self.guard = None if authorizer is None else RequestGuard(authorizer, self.metrics, self.audit)
        loader = Loader(
            self,
            self.plugins,
            self.registry,
            self._executors,
            metrics=self.metrics,
            admission=self.admission,
            settings=self._own,
            resolve=self.resolve_model,
            select=self.catalog.select,
        )
        unread = self.settings.unread
        control = ModelControl(self.registry, self._sources, loader, self._own, unread)
        stack.push_async_callback(self._close, control)
        control.start()
        self._control = control

    async def __aexit__(self, *exc_info: object) -> None:
        self._check_loop()
        await self._shut_down()

    async def _shut_down(self) -> None:
        self.stopping = True
        stack, self._stack = self._stack, None
        try:
            if stack is not None:
                await stack.aclose()
        finally:
            await self.shared.close()
            self._control = self._loop = None
            self.access = None
            self.audit = None
            self.guard = None
            self._executors.clear()

    async def loaded(self) -> None:
        """Wait until every model that is loaded at the start is READY or has failed (see `problems`).

        Raises:
            ServerNotReady: the kernel is not running, or stops before that.
        """
        await self._running().wait_loaded()

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
            ModelsFailed: a model failed to load at the start and ``on_load_failure`` is "exit".
        """
        control = self._running()
        made = {offer.name: make_offered(offer, self, Transport) for offer in self._enabled(TransportOffer)}
        self._serving = Serving(made, self.registry, self._own, self._begin_stop)
        with self._details.serving(self._own.host):
            async with self._serving as serving, watching(self.settings, self.reload):
                if self.guard is None and not self._own.insecure and not is_loopback(self._own.host):
                    logger.warning(OPEN)
                if started is not None:
                    started()
                await serving.until(stop, control)

    async def reload(self) -> None:
        """Have every transport read its files (certificates) again. What fails is logged, and changes
        nothing."""
        for name, transport in list(self.transports.items()):
            try:
                await transport.reload()
            except ConfigurationError as error:
                logger.error("The transport %s goes on with its old files: %s", name, error)
            except Exception:  # transports of plugins may raise anything
                logger.exception("The transport %s goes on with its old files", name)
            else:
                logger.info("The transport %s has read its files again", name)

    @property
    def transports(self) -> Mapping[str, Transport]:
        """The transports that are started, by name."""
        return self._serving.started if self._serving is not None else {}

    def each(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that a plugin added; see `mlsrv.plugins.manager.Plugins.each`."""
        return self.plugins.each(hook, **arguments)

    def blocking(self) -> BlockingKernel:
        """Return this kernel for programs without asyncio: ``with kernel.blocking() as running:``."""
        from mlsrv.kernel.blocking import BlockingKernel

        return BlockingKernel(self)

    # --- control plane ------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """True if every model that should be loaded is READY and its executor healthy."""
        return not self.problems()

    def problems(self) -> list[str]:
        """Return why the server is not ready, one sentence each; empty when it is."""
        if self.stopping:
            return ["The server is stopping."]
        if self._control is None:
            return ["The server has not started."]
        problems = [part.problem for part in self._executors.values() if part.problem]
        for name, transport in self.transports.items():
            if transport.problem:
                problems.append(self._details.problem(f"The transport {name}", transport.problem))
        return problems + self._control.problems()

    def server_metadata(self) -> MetadataServerResponse:
        """Return name, version and extensions: those of the settings first, then those that work, by name."""
        own = self._own
        served = [name for transport in self.transports.values() for name in transport.extensions]
        return MetadataServerResponse(
            name=own.server_name,
            version=own.server_version or kernel_version(),
            extensions=list(dict.fromkeys([*own.extensions, *sorted([*self._extensions, *served])])),
        )

    async def index(self, ready: bool | None = None) -> list[RepositoryIndexResponseItem]:
        """Return every version of every model, loaded or in the repository, with state and reason; sorted.

        Args:
            ready: True for those alone that answer requests now, False for the others.

        Raises:
            MLSrvError: the kernel is not running, or the repository cannot be read.
        """
        try:
            return await self._running().index(ready)
        except MLSrvError as error:
            raise self._details.told(error)  # noqa: B904  # it is that error, or has it as its cause

    async def load(self, name: str, version: str | None = None) -> list[ModelHandle]:
        """Load or reload a model: every version that the repository has, or one. Versions that are loaded but
        no longer in the repository are unloaded. The load goes on if the caller is cancelled.

        Raises:
            ModelNotFound: the repository has no such model or version.
            MLSrvError: a version failed to load; the others are loaded all the same.
        """
        try:
            return await self._running().load(name, version or None)
        except MLSrvError as error:
            raise self._details.told(error)  # noqa: B904  # it is that error, or has it as its cause

    async def unload(self, name: str, version: str | None = None) -> None:
        """Unload a model: all versions, or one. Requests in flight finish.

        Raises:
            ModelNotFound: the model or the version is unknown.
        """
        await self._running().unload(name, version or None)

    async def listing(self, left_out: bool = False) -> list[Listing]:
        """Return every model that could be loaded, read anew: those given and of the repository, or else
        the one that the environment describes. Works on a kernel that was not entered, too.

        Args:
            left_out: whether models that cannot be loaded, as another one of their name and version comes
                first, are there as well, each as a `BrokenModel`.

        Raises:
            ConfigurationError: there is no such repository.
            RepositoryError: it cannot be read.
        """
        return await self._sources.listing(left_out)

    def resolve_model(self, model: ModelSettings) -> ModelSettings:
        """Return the settings with which a model would be loaded: its own under those of the environment,
        every field of the kernel and of plugins converted.

        Raises:
            ConfigurationError: with one sentence for each unknown key and each value of a wrong type.
        """
        return model.resolve(self._owners("model"), self._environment.overlay if self._environment else None)

    # --- inside -------------------------------------------------------------------------------------------

    def _owners(self, scope: str) -> list[Owner]:
        return [
            Owner(distribution, offer.cls)
            for distribution, offer in self.plugins.attributed(SettingsOffer)
            if offer.scope == scope
        ]

    def _enabled(self, kind: type[_S]) -> list[_S]:
        return [offer for offer in self.plugins.offers(kind) if offer.enabled(self.settings)]

    def _begin_stop(self) -> None:
        self.stopping = True

    async def _close(self, control: ModelControl) -> None:
        # The time of requests in flight began when the transports stopped, if there were any.
        await control.close(None if self._serving is None else self._serving.end)

    def _running(self) -> ModelControl:
        self._check_loop()
        if self._control is None or self._stack is None:
            raise ServerNotReady("The server is not running.")
        return self._control


def _report_ignored(settings: FlatSettings) -> None:
    for sentence in settings.ignored:
        logger.warning("%s; it is ignored", sentence)


def _check_executor(wanted: str | None, offered: Sequence[str]) -> None:
    if wanted is not None and wanted not in offered:
        raise ConfigurationError(f'executor: unknown "{wanted}"; installed are {", ".join(sorted(offered))}.')


async def _enter(stack: AsyncExitStack, part: AbstractAsyncContextManager[object], what: str) -> None:
    async def leave() -> None:
        try:
            await part.__aexit__(None, None, None)
        except Exception:  # one plugin's failure at the end must not reach the others
            logger.exception("%s failed to stop", what)

    try:
        await part.__aenter__()
    except (MLSrvError, asyncio.CancelledError):
        raise
    except Exception as error:
        raise PluginError(f"{what} failed to start: {type(error).__name__}: {error}") from error
    stack.push_async_callback(leave)
