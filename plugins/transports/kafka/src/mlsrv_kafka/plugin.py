"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlsrv
from mlsrv_kafka import hookspecs
from mlsrv_kafka.settings import KafkaSettings

if TYPE_CHECKING:
    import pluggy
    from starlette.routing import Route

    from mlsrv.kernel_api import KernelAPI
    from mlsrv.metrics import Metric


@mlsrv.hookimpl
def mlsrv_addhooks(pluginmanager: pluggy.PluginManager) -> None:
    """Add the hook for plugins that observe records."""
    pluginmanager.add_hookspecs(hookspecs)


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of the Kafka transport."""
    return mlsrv.SettingsOffer("server", KafkaSettings)


@mlsrv.hookimpl
def mlsrv_transports() -> mlsrv.TransportOffer:
    """Offer the Kafka transport."""
    return mlsrv.TransportOffer("kafka", "mlsrv_kafka.transport:KafkaTransport", _enabled)


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of records."""
    from mlsrv_kafka.metrics import METRICS

    return METRICS


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: KernelAPI) -> Route | None:
    """Offer the state of the topics over REST."""
    if not _enabled(kernel.settings):
        return None
    from mlsrv_kafka.routes import state_route

    return state_route(kernel)


def _enabled(settings: mlsrv.Settings) -> bool:
    return settings.of(KafkaSettings).kafka_enabled
