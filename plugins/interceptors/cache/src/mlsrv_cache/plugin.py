"""What mlsrv-cache offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlsrv
from mlsrv_cache.settings import CacheModelSettings, CacheSettings

if TYPE_CHECKING:
    from mlsrv.interceptor import Interceptor
    from mlsrv.metrics import Metric


@mlsrv.hookimpl
def mlsrv_settings() -> list[mlsrv.SettingsOffer]:
    """The switch of the server, and that of each model."""
    return [mlsrv.SettingsOffer("server", CacheSettings), mlsrv.SettingsOffer("model", CacheModelSettings)]


@mlsrv.hookimpl
def mlsrv_interceptors(kernel: mlsrv.Kernel, model: mlsrv.ModelSettings) -> Interceptor | None:
    """A cache of its own for each model that asks for one, while the server allows it."""
    settings = kernel.settings.of(CacheSettings)
    if not (settings.cache_enabled and model.of(CacheModelSettings).cache_enabled):
        return None
    from mlsrv_cache.cache import ResponseCache

    return ResponseCache(model.name, model.version, settings, kernel.metrics)


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of caches."""
    from mlsrv_cache.metrics import METRICS

    return METRICS
