"""Plugin: the executor "ray", its settings and its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlsrv
from mlsrv_ray.settings import RayModelSettings, RaySettings

if TYPE_CHECKING:
    from mlsrv.metrics import Metric


@mlsrv.hookimpl
def mlsrv_settings() -> list[mlsrv.SettingsOffer]:
    """Offer the settings of the cluster and of the models on it."""
    return [mlsrv.SettingsOffer("server", RaySettings), mlsrv.SettingsOffer("model", RayModelSettings)]


@mlsrv.hookimpl
def mlsrv_executors() -> mlsrv.ExecutorOffer:
    """Offer the executor "ray"."""
    return mlsrv.ExecutorOffer("ray", "mlsrv_ray.executor:RayExecutor")


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of models on a cluster."""
    from mlsrv_ray.metrics import METRICS

    return METRICS
