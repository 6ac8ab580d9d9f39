"""Plugin: the response cache and its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlsrv
from mlsrv_cache.settings import CacheModelSettings, CacheSettings

if TYPE_CHECKING:
    from mlsrv.interceptor import Interceptor
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.metrics import Metric


@mlsrv.hookimpl
def mlsrv_settings() -> list[mlsrv.SettingsOffer]:
    """Offer the settings of the server's caches and of each model's cache."""
    return [mlsrv.SettingsOffer("server", CacheSettings), mlsrv.SettingsOffer("model", CacheModelSettings)]


@mlsrv.hookimpl
def mlsrv_interceptors(kernel: KernelAPI, model: mlsrv.ModelSettings) -> Interceptor | None:
    """Return a cache for a model that enables it while the server allows caches, else None."""
    settings = kernel.settings.of(CacheSettings)
    own = model.of(CacheModelSettings)
    if not (settings.cache_enabled and own.cache_enabled):
        return None
    from mlsrv_cache.cache import ResponseCache

    return ResponseCache(model.name, model.version, settings, kernel.metrics, own.cache_vary)


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of caches."""
    from mlsrv_cache.metrics import METRICS

    return METRICS
