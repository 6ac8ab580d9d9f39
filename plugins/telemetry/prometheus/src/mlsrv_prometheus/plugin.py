"""Plugin: the hooks of mlsrv-prometheus."""

from __future__ import annotations

import mlsrv
from mlsrv_prometheus.settings import PrometheusSettings


def _enabled(settings: mlsrv.Settings) -> bool:
    return settings.of(PrometheusSettings).metrics_endpoint is not None


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of the metrics."""
    return mlsrv.SettingsOffer("server", PrometheusSettings)


@mlsrv.hookimpl
def mlsrv_meters() -> mlsrv.MeterOffer:
    """Offer the meter for Prometheus."""
    return mlsrv.MeterOffer("prometheus", "mlsrv_prometheus.meter:PrometheusMeter", _enabled)


@mlsrv.hookimpl
def mlsrv_transports() -> mlsrv.TransportOffer:
    """Offer the metrics endpoint."""
    return mlsrv.TransportOffer("prometheus", "mlsrv_prometheus.transport:MetricsTransport", _enabled)


@mlsrv.hookimpl
def mlsrv_user_code() -> None:
    """Let models that are loaded again in this process make their metrics again."""
    from mlsrv_prometheus.repeated_metrics import allow_repeated_metrics

    allow_repeated_metrics()
