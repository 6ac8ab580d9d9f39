"""Hook specifications: every hook of the kernel, in the order in which the kernel calls them.

Hooks decide, objects work: a hook runs at boot or when a model is loaded, never for a request. It returns
small frozen offers, or plain objects that the kernel then calls directly. A hook may take fewer parameters
than its specification has; one that raises stops what was being done (the boot, the load), with the plugin's
name in the message. Each docstring says: what for; when, how often and in which process; parameters; what is
returned.
"""

# mypy: disable-error-code="empty-body"
# A specification has a signature and a docstring, and never a body.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any

import pluggy

from mlsrv.plugins.markers import hookspec

if TYPE_CHECKING:
    from pathlib import Path

    from mlsrv.authorization import Authorizer
    from mlsrv.interceptor import Interceptor, UserCodeContext
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.metrics import Metric
    from mlsrv.placement import ModelInfo
    from mlsrv.plugin_resources import Shared
    from mlsrv.plugins.offers import (
        CodecOffer,
        ExecutorOffer,
        MeterOffer,
        RepositoryOffer,
        RuntimeOffer,
        SettingsOffer,
        TransportOffer,
    )
    from mlsrv.repository import VerifiedFolder
    from mlsrv.settings import ModelSettings
    from mlsrv_protocol.types import State


# --- boot ---------------------------------------------------------------------------------------------------


@hookspec
def mlsrv_addhooks(pluginmanager: pluggy.PluginManager) -> None:
    """Add hook specifications of your own, which other plugins may then implement.

    Called once for each kernel, first of all hooks, in every process that has a plugin manager.

    Args:
        pluginmanager: call its ``add_hookspecs(module)``.

    Returns:
        Nothing.

    Example:
        >>> import types, mlsrv
        >>> hooks = types.ModuleType("my_hooks")
        >>> @mlsrv.hookspec
        ... def mlsrv_my_event(kernel): ...
        >>> hooks.mlsrv_my_event = mlsrv_my_event
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_addhooks(self, pluginmanager):
        ...         pluginmanager.add_hookspecs(hooks)
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> hasattr(kernel.plugins.manager.hook, "mlsrv_my_event")
        True
    """


@hookspec
def mlsrv_settings() -> SettingsOffer | Iterable[SettingsOffer]:
    """Offer fields for ``settings.json`` (scope "server") or ``model-settings.json`` (scope "model").

    Called once for each kernel, before any configuration is read, in every process that has a plugin manager.

    Returns:
        One offer or several. None means that the plugin has no settings.

    Example:
        >>> import mlsrv
        >>> from mlsrv.settings import setting, settings_class
        >>> @settings_class
        ... class GreetingSettings:
        ...     greeting: str = setting("hello", help="What the plugin says.")
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_settings(self):
        ...         return mlsrv.SettingsOffer("server", GreetingSettings)
        >>> kernel = mlsrv.Kernel(mlsrv.Settings(greeting="ahoy"), plugins=[Plugin()], discover=False)
        >>> kernel.settings.of(GreetingSettings).greeting
        'ahoy'
    """


@hookspec
def mlsrv_codecs() -> CodecOffer | Iterable[CodecOffer]:
    """Offer codecs (content types) that every model may use.

    Called once for each kernel and in each worker process. A lazy target is imported when a request or a
    model first needs the codec.

    Returns:
        One offer or several. None means none. Two offers of one name and kind stop the boot.

    Example:
        >>> import mlsrv
        >>> from mlsrv.codecs import InputCodec
        >>> class Upper(InputCodec):
        ...     ContentType = "upper"
        ...     @classmethod
        ...     def decode_input(cls, request_input):
        ...         return [text.upper() for text in request_input.data]
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_codecs(self):
        ...         return mlsrv.CodecOffer("upper", Upper)
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> kernel.catalog.codecs.input_codec("upper") is Upper
        True
    """


@hookspec
def mlsrv_runtimes() -> RuntimeOffer | Iterable[RuntimeOffer]:
    """Offer inference runtimes: classes that models name in ``implementation``.

    Called once for each kernel and in each worker process. A lazy target is imported when a model of this
    runtime is loaded, in the process where it runs.

    Returns:
        One offer or several. None means none. Two offers of one name or alias stop the boot.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_runtimes(self):
        ...         return mlsrv.RuntimeOffer("acme", "acme_models:AcmeModel", artifacts=("*.acme",))
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> sorted(kernel.catalog.runtimes)
        ['acme']
    """


@hookspec
def mlsrv_repositories() -> RepositoryOffer | Iterable[RepositoryOffer]:
    """Offer kinds of model repositories, chosen by the setting ``model_repository_implementation``.

    Called once for each kernel, in the main process.

    Returns:
        One offer or several. None means none.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_repositories(self):
        ...         return mlsrv.RepositoryOffer("bucket", "acme_bucket:BucketRepository")
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> [offer.name for offer in kernel.plugins.offers(mlsrv.RepositoryOffer)]
        ['bucket']
    """


@hookspec
def mlsrv_executors() -> ExecutorOffer | Iterable[ExecutorOffer]:
    """Offer places where models run. The kernel itself offers ``inline``: this process.

    Called once for each kernel, in the main process. The executor is imported, made and entered at boot.

    Returns:
        One offer or several. None means none.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_executors(self):
        ...         return mlsrv.ExecutorOffer("cluster", "acme_cluster:ClusterExecutor")
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> sorted(offer.name for offer in kernel.plugins.offers(mlsrv.ExecutorOffer))
        ['cluster', 'inline']
    """


@hookspec
def mlsrv_transports() -> TransportOffer | Iterable[TransportOffer]:
    """Offer ways in for requests.

    Called once for each kernel, in the main process. A transport whose offer is enabled by the settings is
    imported and started by `Kernel.serve`; an embedding app that never serves imports none.

    Returns:
        One offer or several. None means none.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_transports(self):
        ...         return mlsrv.TransportOffer("pigeon", "acme:Pigeon", enabled=lambda all: all.debug)
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> [offer.name for offer in kernel.plugins.offers(mlsrv.TransportOffer)]
        ['pigeon']
    """


@hookspec
def mlsrv_meters() -> MeterOffer | Iterable[MeterOffer]:
    """Offer backends for metrics. Without any, recording costs one call of an empty function.

    Called once for each kernel, in the main process.

    Returns:
        One offer or several. None means none.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_meters(self):
        ...         return mlsrv.MeterOffer("statsd", "acme_statsd:StatsdMeter")
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> [offer.name for offer in kernel.plugins.offers(mlsrv.MeterOffer)]
        ['statsd']
    """


@hookspec
def mlsrv_extensions() -> str | Iterable[str]:
    """Name the extensions of the protocol that a plugin implements for every transport.

    Called once for each kernel, in the main process. The server metadata lists them beside the extensions of
    the transports that are started and those of the setting ``extensions``.

    Returns:
        One name or several. None means none.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_extensions(self):
        ...         return "pigeon_post"
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> kernel.server_metadata().extensions
        ['pigeon_post', 'schedule_policy', 'statistics']
    """


@hookspec
def mlsrv_metrics() -> Metric | Iterable[Metric]:
    """List the metrics that a plugin records, for tables, dashboards and alert rules of a backend.

    Called when the metrics are asked for (`Plugins.metrics`), in the main process, whether the kernel has
    booted or not.

    Returns:
        One metric or several. None means none. Two metrics of one name that differ are an error.

    Example:
        >>> import mlsrv
        >>> from mlsrv.metrics import Metric
        >>> SENT = Metric("pigeons_sent", "Pigeons that were sent.", "counter", ("loft",))
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_metrics(self):
        ...         return SENT
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> SENT in kernel.plugins.metrics()
        True
    """


@hookspec
def mlsrv_lifespan(kernel: KernelAPI) -> AbstractAsyncContextManager[object]:
    """Give the kernel something to enter at boot and to leave at the end, for example a connection.

    Called once for each boot, in the main process, after the executors are there and before models load. The
    managers are entered in the order of plugin names and left in reverse; one that raises stops the boot.

    Args:
        kernel: the kernel that boots.

    Returns:
        An async context manager. None means that there is nothing to enter.

    Example:
        >>> import asyncio, contextlib, mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_lifespan(self, kernel):
        ...         @contextlib.asynccontextmanager
        ...         async def hello():
        ...             print("hello")
        ...             yield
        ...             print("goodbye")
        ...         return hello()
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], discover=False):
        ...         print("serving")
        >>> asyncio.run(main())
        hello
        serving
        goodbye
    """


@hookspec
def mlsrv_authorize(kernel: KernelAPI) -> Authorizer:
    """Decide who may do what.

    Called once for each boot, in the main process, after the lifespans were entered. Each transport then asks
    before it reads the body of a request, and answers what is not allowed with its code for UNAUTHENTICATED,
    PERMISSION_DENIED or RATE_LIMITED.

    Args:
        kernel: the kernel that boots.

    Returns:
        An `mlsrv.authorization.Authorizer`. None means that the plugin does not decide; without any, all
        requests are let in. Two authorizers stop the boot.

    Example:
        >>> import asyncio, mlsrv
        >>> from mlsrv.authorization import AccessRequest, Authorizer, Principal
        >>> from mlsrv.errors import Unauthenticated
        >>> class Passwords(Authorizer):
        ...     async def authorize(self, access):
        ...         if access.headers.get("x-password") != "open sesame":
        ...             raise Unauthenticated("The password is missing or wrong.")
        ...         return Principal("ali", {"infer": ["treasure-*"]})
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_authorize(self, kernel):
        ...         return Passwords()
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], discover=False) as kernel:
        ...         headers = {"x-password": "open sesame"}
        ...         principal = await kernel.guard.admit(AccessRequest("infer", headers))
        ...         print(principal.name, principal.visible("infer", ["treasure-1", "cave"]))
        >>> asyncio.run(main())
        ali ['treasure-1']
    """


# --- model load ---------------------------------------------------------------------------------------------


@hookspec
def mlsrv_verified_folder(
    kernel: KernelAPI, model: ModelSettings
) -> AbstractContextManager[VerifiedFolder | None]:
    """Check a model's files, and give the load a copy that does not change any more.

    Called for each load and reload of a model, in the main process, before anything of its folder but the
    settings is read. The settings are read again from the copy, and the model is loaded from there, wherever
    it runs.

    Args:
        kernel: the kernel.
        model: its resolved settings; ``model.folder`` is where it is.

    Returns:
        A context manager, entered in a thread before the load and left once the model is unloaded. It gives
        the folder to load in place of the model's, or None for its own, and raises to refuse the model. What
        it found is shown in the index and in the model's metadata. None in place of it means that the plugin
        has nothing to check. Two plugins that check one model refuse it.

    Example:
        >>> import contextlib, mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_verified_folder(self, kernel, model):
        ...         @contextlib.contextmanager
        ...         def refuse():
        ...             raise mlsrv.errors.ModelLoadError(f"Model {model.name} is not trusted.")
        ...             yield
        ...         return refuse()
        >>> from mlsrv.testing import EchoModel
        >>> model = mlsrv.ModelSettings(name="echo", implementation=EchoModel)
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], models=[model], discover=False) as kernel:
        ...         await kernel.loaded()
        ...         return kernel.handle("echo").reason
        >>> import asyncio
        >>> asyncio.run(main())
        'Model echo is not trusted.'
    """


@hookspec(firstresult=True)
def mlsrv_select_runtime(model: ModelSettings, files: Sequence[Path]) -> str | None:
    """Say which runtime a model needs whose settings have no ``implementation``.

    Called for each load of such a model, in the main process, until one plugin answers. If none does, the
    kernel compares the files with the artifacts of the offered runtimes.

    Args:
        model: its settings.
        files: the artifact, or the files directly in the artifact's folder, sorted by name.

    Returns:
        The name of a runtime. None leaves the decision to others.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_select_runtime(self, model, files):
        ...         return "acme" if any(file.suffix == ".acme" for file in files) else None
        >>> from pathlib import Path
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> kernel.plugins.select_runtime(mlsrv.ModelSettings(name="m"), [Path("model.acme")])
        'acme'
    """


@hookspec
def mlsrv_interceptors(
    kernel: KernelAPI, model: ModelSettings, info: ModelInfo
) -> Interceptor | Iterable[Interceptor]:
    """Put something between the transports and a model, such as a cache or a batcher.

    Called once for each load and reload of a model, in the main process, before the model becomes ready. What
    is returned is entered, composed by phase, and called for each request of that model; a model that wants
    none of it costs nothing.

    Args:
        kernel: the kernel.
        model: the resolved settings of the model; ``model.of(MySettings)`` are the plugin's own.
        info: what the loaded model says of itself: declared tensors, and how many copies of it there are.

    Returns:
        One interceptor or several. None means none for this model.

    Example:
        >>> import asyncio, mlsrv
        >>> from mlsrv.interceptor import Interceptor
        >>> class Shout(Interceptor):
        ...     infer_only = True  # streams and custom handlers pass unchanged
        ...     async def __call__(self, request, context, call_next):
        ...         response = await call_next(request, context)
        ...         response.outputs[0].data = [text.upper() for text in response.outputs[0].data]
        ...         return response
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_interceptors(self, kernel, model):
        ...         return Shout()
        >>> from mlsrv.testing import EchoModel, text_request
        >>> model = mlsrv.ModelSettings(name="echo", implementation=EchoModel)
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], models=[model], discover=False) as kernel:
        ...         await kernel.loaded()
        ...         response = await kernel.infer(text_request("echo", ["hi"]))
        ...         return response.outputs[0].data
        >>> asyncio.run(main())
        ['HI']
    """


@hookspec
def mlsrv_user_code(settings: Mapping[str, Any], model: ModelSettings, shared: Shared) -> UserCodeContext:
    """Put something around the code of a model, such as a live span that the code can find.

    Called once for each load of a model, in the process where it runs: the main process, or a worker process.
    What it returns is called for each call of the model's code (``predict``, a step of ``predict_stream``, a
    custom handler); what fails then is logged, and the request goes on.

    Args:
        settings: the effective server settings as plain data, by name: a worker process has no kernel.
        model: the resolved settings of the model.
        shared: for objects that the models of this process, or of this kernel, share; see
            `mlsrv.plugin_resources.Shared`. In the main process it is the one of ``kernel.shared``.

    Returns:
        A callable that takes the call's `CallContext` and makes a context manager for it; one for a whole
        stream is a `mlsrv.hosting.call_scope.WholeCall`. None means that there is nothing to put around.

    Example:
        >>> import asyncio, contextlib, mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_user_code(self, settings, model):
        ...         @contextlib.contextmanager
        ...         def around(context):
        ...             print(settings["server_name"], "calls", model.name)
        ...             yield
        ...             print("done")
        ...         return around
        >>> from mlsrv.testing import EchoModel, text_request
        >>> model = mlsrv.ModelSettings(name="echo", implementation=EchoModel)
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], models=[model], discover=False) as kernel:
        ...         await kernel.loaded()
        ...         await kernel.infer(text_request("echo", ["hi"]))
        >>> _ = asyncio.run(main())
        mlsrv calls echo
        done
    """


@hookspec
def mlsrv_model_state(kernel: KernelAPI, model: ModelSettings, state: State, reason: str) -> None:
    """Hear of each change of a model's state.

    Called after the change, in the main process, on the event loop: it must return at once. An implementation
    that raises is logged and never fails a load.

    Args:
        kernel: the kernel.
        model: the model's settings.
        state: the new state.
        reason: why, when the state is UNAVAILABLE; else empty.

    Returns:
        Nothing.

    Example:
        >>> import asyncio, mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_model_state(self, model, state):
        ...         print(model.name, state.value)
        >>> from mlsrv.testing import EchoModel
        >>> model = mlsrv.ModelSettings(name="echo", implementation=EchoModel)
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], models=[model], discover=False) as kernel:
        ...         await kernel.loaded()
        >>> asyncio.run(main())
        echo LOADING
        echo READY
        echo UNLOADING
        echo UNAVAILABLE
    """
