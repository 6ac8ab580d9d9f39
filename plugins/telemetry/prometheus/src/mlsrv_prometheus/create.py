"""Metrics application: the metrics of a kernel for another application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI


def create_app(kernel: KernelAPI) -> Any:
    """Return an ASGI application that answers with the metrics of a running kernel, at any mount path.

    Raises:
        ConfigurationError: the kernel does not run, or its ``metrics_endpoint`` is None.
    """
    from mlsrv.errors import ConfigurationError
    from mlsrv_prometheus.app import MetricsApp
    from mlsrv_prometheus.meter import PrometheusMeter

    meter = kernel.meters.get("prometheus")
    if not isinstance(meter, PrometheusMeter):
        raise ConfigurationError(
            "This kernel has no metrics for Prometheus: it must be running, with the plugin "
            "mlsrv-prometheus and a metrics_endpoint."
        )
    return MetricsApp(meter)
