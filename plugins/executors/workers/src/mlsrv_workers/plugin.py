"""Plugin: the executor "workers" and its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlsrv
from mlsrv_workers.settings import ENVIRONMENT_PARAMETERS, POOL_PARAMETER, WorkerModelSettings, WorkerSettings

if TYPE_CHECKING:
    from mlsrv.metrics import Metric


@mlsrv.hookimpl
def mlsrv_settings() -> list[mlsrv.SettingsOffer]:
    """Offer the settings of worker pools and of the models in them."""
    return [
        mlsrv.SettingsOffer("server", WorkerSettings),
        mlsrv.SettingsOffer(
            "model", WorkerModelSettings, parameters=(*ENVIRONMENT_PARAMETERS, POOL_PARAMETER)
        ),
    ]


@mlsrv.hookimpl
def mlsrv_executors() -> mlsrv.ExecutorOffer:
    """Offer the executor "workers"."""
    return mlsrv.ExecutorOffer("workers", "mlsrv_workers.executor:WorkersExecutor")


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of pools of worker processes."""
    from mlsrv_workers.metrics import METRICS

    return METRICS
