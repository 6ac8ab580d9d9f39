"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlsrv
from mlsrv_rest import hookspecs
from mlsrv_rest.settings import RestSettings

if TYPE_CHECKING:
    import pluggy

    from mlsrv.metrics import Metric


@mlsrv.hookimpl
def mlsrv_addhooks(pluginmanager: pluggy.PluginManager) -> None:
    """Add the hooks for routes and middleware of other plugins."""
    pluginmanager.add_hookspecs(hookspecs)


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of the HTTP server."""
    return mlsrv.SettingsOffer("server", RestSettings)


@mlsrv.hookimpl
def mlsrv_transports() -> mlsrv.TransportOffer:
    """Offer the REST transport."""
    return mlsrv.TransportOffer("rest", "mlsrv_rest.transport:RestTransport")


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of HTTP requests."""
    from mlsrv_rest.metrics import METRICS

    return METRICS
