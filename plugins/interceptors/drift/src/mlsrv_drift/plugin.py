"""Plugin: the watch for drift, its settings, its routes and its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlsrv
from mlsrv_drift.settings import DriftModelSettings, DriftSettings

if TYPE_CHECKING:
    from mlsrv.interceptor import Interceptor
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.metrics import Metric
    from mlsrv.placement import ModelInfo


@mlsrv.hookimpl
def mlsrv_settings() -> list[mlsrv.SettingsOffer]:
    """Offer the settings of the server and of each model."""
    return [mlsrv.SettingsOffer("server", DriftSettings), mlsrv.SettingsOffer("model", DriftModelSettings)]


@mlsrv.hookimpl
def mlsrv_interceptors(kernel: KernelAPI, model: mlsrv.ModelSettings, info: ModelInfo) -> Interceptor | None:
    """Return a tap for a model that is watched, else None."""
    settings = model.of(DriftModelSettings)
    if not settings.drift_enabled:
        return None
    from mlsrv_drift.monitor import Subject
    from mlsrv_drift.monitors import Monitors
    from mlsrv_drift.tap import Tap

    subject = Subject(
        model.name,
        model.version,
        tuple(tensor.name for tensor in info.inputs),
        tuple(tensor.name for tensor in info.outputs),
        settings,
    )
    return Tap(kernel, subject, kernel.shared.get(Monitors, Monitors))


@mlsrv.hookimpl
def mlsrv_extensions() -> str:
    """Name the extension, by which clients know that there are reports."""
    return "drift"


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``drift``: a model that answers whether another one's data drifts."""
    return mlsrv.RuntimeOffer("drift", "mlsrv_drift.elsewhere:DriftModel")


@mlsrv.hookimpl
def mlsrv_executors() -> mlsrv.ExecutorOffer:
    """Offer the place where models of that runtime run: beside the kernel, where the monitors are."""
    return mlsrv.ExecutorOffer("drift", "mlsrv_drift.executor:DriftExecutor")


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: KernelAPI) -> list[Any]:
    """Return the routes ``/v2/models/{model}/drift``."""
    from mlsrv_drift.routes import routes

    return routes(kernel)


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of drift."""
    from mlsrv_drift.metrics import METRICS

    return METRICS
