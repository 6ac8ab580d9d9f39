"""What mlsrv-workers offers."""

from __future__ import annotations

import mlsrv
from mlsrv_workers.settings import WorkerModelSettings, WorkerSettings


@mlsrv.hookimpl
def mlsrv_settings() -> list[mlsrv.SettingsOffer]:
    """Settings of the pools, and of models in them."""
    return [mlsrv.SettingsOffer("server", WorkerSettings), mlsrv.SettingsOffer("model", WorkerModelSettings)]


@mlsrv.hookimpl
def mlsrv_executors() -> mlsrv.ExecutorOffer:
    """The executor "workers"."""
    return mlsrv.ExecutorOffer("workers", "mlsrv_workers.executor:WorkersExecutor")
