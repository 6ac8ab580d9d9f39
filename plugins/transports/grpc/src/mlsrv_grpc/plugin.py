"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlsrv
from mlsrv_grpc import hookspecs
from mlsrv_grpc.settings import GrpcSettings

if TYPE_CHECKING:
    import pluggy

    from mlsrv.metrics import Metric


@mlsrv.hookimpl
def mlsrv_addhooks(pluginmanager: pluggy.PluginManager) -> None:
    """Add the hooks for services and interceptors of other plugins."""
    pluginmanager.add_hookspecs(hookspecs)


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of the gRPC server."""
    return mlsrv.SettingsOffer("server", GrpcSettings)


@mlsrv.hookimpl
def mlsrv_transports() -> mlsrv.TransportOffer:
    """Offer the gRPC transport."""
    return mlsrv.TransportOffer("grpc", "mlsrv_grpc.transport:GrpcTransport")


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of gRPC calls."""
    from mlsrv_grpc.metrics import METRICS

    return METRICS
