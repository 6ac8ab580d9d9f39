"""Plugin: the executor "workers" and its settings."""

from __future__ import annotations

import mlsrv
from mlsrv_workers.settings import WorkerModelSettings, WorkerSettings


@mlsrv.hookimpl
def mlsrv_settings() -> list[mlsrv.SettingsOffer]:
    """Offer the settings of worker pools and of the models in them."""
    return [mlsrv.SettingsOffer("server", WorkerSettings), mlsrv.SettingsOffer("model", WorkerModelSettings)]


@mlsrv.hookimpl
def mlsrv_executors() -> mlsrv.ExecutorOffer:
    """Offer the executor "workers"."""
    return mlsrv.ExecutorOffer("workers", "mlsrv_workers.executor:WorkersExecutor")
