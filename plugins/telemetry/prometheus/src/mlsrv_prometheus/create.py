"""Metrics application: the metrics of a kernel for another application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from mlsrv.kernel_api import KernelAPI


def create_app(kernel: KernelAPI, registry: Collector | None = None) -> Any:
    """Return an ASGI application that answers with the metrics of a kernel, at any path.

    It may be made and mounted before the kernel runs; until then it answers 503.

    Args:
        kernel: whose metrics are shown.
        registry: metrics of the application that are shown, too. Those of `prometheus_client.REGISTRY` are,
            anyway.

    Raises:
        ConfigurationError: the ``metrics_endpoint`` of the kernel is None, or it lacks the plugin.
    """
    from mlsrv.errors import ConfigurationError
    from mlsrv_prometheus.app import MetricsApp
    from mlsrv_prometheus.settings import PrometheusSettings

    try:
        endpoint = kernel.settings.of(PrometheusSettings).metrics_endpoint
    except KeyError:  # the plugin is blocked
        endpoint = None
    if endpoint is None:
        raise ConfigurationError(
            "This kernel has no metrics for Prometheus: it needs the plugin mlsrv-prometheus and a "
            "metrics_endpoint."
        )
    return MetricsApp(kernel, registry=registry)
