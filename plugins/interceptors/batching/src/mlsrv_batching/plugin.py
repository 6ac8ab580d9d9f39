"""Plugin: adaptive batching, its settings and its route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

import mlsrv
from mlsrv_batching.settings import BatchingSettings

if TYPE_CHECKING:
    from mlsrv.interceptor import Interceptor
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.metrics import Metric
    from mlsrv.placement import ModelInfo
    from mlsrv_batching.limits import Cost


@mlsrv.hookimpl
def mlsrv_addhooks(pluginmanager: pluggy.PluginManager) -> None:
    """Add the hook ``mlsrv_batch_cost``."""
    from mlsrv_batching import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of batching."""
    return mlsrv.SettingsOffer("model", BatchingSettings)


@mlsrv.hookimpl
def mlsrv_interceptors(kernel: KernelAPI, model: mlsrv.ModelSettings, info: ModelInfo) -> Interceptor | None:
    """Return a batcher for a model whose settings enable batching, else None.

    Raises:
        ConfigurationError: the settings limit the tokens of a batch, but no plugin counts them.
    """
    settings = model.of(BatchingSettings)
    if not settings.enabled:
        return None
    from mlsrv_batching.batcher import Batcher
    from mlsrv_batching.observing import BatchMeter

    meter = BatchMeter(kernel.metrics, model.name, model.version)
    return Batcher(
        model.name,
        settings,
        meter,
        slots=info.replicas,
        codec_parameters=kernel.plugins.codec_parameters(),
        cost=_cost(kernel, model, info) if settings.max_batch_tokens else None,
        whole_inputs=[
            tensor.name
            for tensor in info.inputs
            if tensor.parameters is not None and tensor.parameters.get("by_row") is False
        ],
    )


def _cost(kernel: KernelAPI, model: mlsrv.ModelSettings, info: ModelInfo) -> Cost:
    found = kernel.each("mlsrv_batch_cost", kernel=kernel, model=model, info=info)
    if not found:
        from mlsrv.errors import ConfigurationError

        raise ConfigurationError(
            f"Model {model.name}: max_batch_tokens needs a runtime that counts tokens, such as huggingface; "
            "leave it out."
        )
    cost: Cost = found[0][1]
    return cost


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
