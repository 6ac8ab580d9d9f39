"""Offer hooks: the hooks of the boot that return offers, from settings to meters."""

# mypy: disable-error-code="empty-body"
# A specification has a signature and a docstring, and never a body.

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from mlsrv.plugins.markers import hookspec

if TYPE_CHECKING:
    from mlsrv.plugins.offers import (
        CodecOffer,
        ExecutorOffer,
        MeterOffer,
        RepositoryOffer,
        RuntimeOffer,
        SettingsOffer,
        TransportOffer,
    )


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
