"""Plugin: adaptive batching, its settings and its route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlsrv
from mlsrv_batching.settings import BatchingSettings

if TYPE_CHECKING:
    from mlsrv.interceptor import Interceptor
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.metrics import Metric
    from mlsrv.placement import ModelInfo


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of batching."""
    return mlsrv.SettingsOffer("model", BatchingSettings)


@mlsrv.hookimpl
def mlsrv_interceptors(kernel: KernelAPI, model: mlsrv.ModelSettings, info: ModelInfo) -> Interceptor | None:
    """Return a batcher for a model whose settings enable batching, else None."""
    settings = model.of(BatchingSettings)
    if not settings.enabled:
        return None
    from mlsrv_batching.batcher import Batcher
    from mlsrv_batching.observing import BatchMeter

    meter = BatchMeter(kernel.metrics, model.name, model.version)
    return Batcher(
        model.name, settings, meter, slots=info.replicas, codec_parameters=kernel.plugins.codec_parameters()
    )


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: KernelAPI) -> list[Any]:
    """Return the route ``GET /v2/models/{model}/batching``."""
    from mlsrv_batching.routes import routes

    return routes(kernel)


@mlsrv.hookimpl
def mlsrv_metrics() -> tuple[Metric, ...]:
    """Return the metrics of batches."""
    from mlsrv_batching.metrics import METRICS

    return METRICS
