"""Plugin: the hooks of mlsrv-opentelemetry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import mlsrv
from mlsrv_opentelemetry.settings import TracingSettings

if TYPE_CHECKING:
    import grpc.aio

    from mlsrv.interceptor import Interceptor, UserCodeContext
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.plugin_resources import Shared
    from mlsrv_opentelemetry.messaging import TracedRecords
    from mlsrv_opentelemetry.tracing import Tracing

logger = logging.getLogger("mlsrv.tracing")


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of tracing."""
    return mlsrv.SettingsOffer("server", TracingSettings)


@mlsrv.hookimpl
def mlsrv_interceptors(kernel: KernelAPI, model: mlsrv.ModelSettings) -> list[Interceptor]:
    """Offer the spans of requests and batches."""
    tracing = _tracing(kernel.shared, kernel.settings.plain())
    if tracing is None:
        return []
    from mlsrv_opentelemetry.requests import BatchSpans, RequestSpans

    requests = RequestSpans(tracing, model)
    return [requests, BatchSpans(requests, model)]


@mlsrv.hookimpl
def mlsrv_user_code(
    settings: Mapping[str, Any], model: mlsrv.ModelSettings, shared: Shared
) -> UserCodeContext | None:
    """Offer the live span of model code."""
    try:
        tracing = _tracing(shared, settings)
    except ImportError as error:  # a worker in an environment of the model's own, which need not have it
        logger.warning("The code of model %s is not traced: %s", model.name, error)
        return None
    if tracing is None:
        return None
    from mlsrv_opentelemetry.live import LiveSpans

    return LiveSpans(tracing, model)


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_middleware(kernel: KernelAPI) -> Callable[[Any], Any] | None:
    """Offer the span of each HTTP request."""
    tracing = _tracing(kernel.shared, kernel.settings.plain())
    if tracing is None:
        return None
    from mlsrv_opentelemetry.http import TracedApp

    return partial(TracedApp, tracing=tracing)


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_grpc_interceptors(kernel: KernelAPI) -> grpc.aio.ServerInterceptor | None:
    """Offer the span of each gRPC call."""
    tracing = _tracing(kernel.shared, kernel.settings.plain())
    if tracing is None:
        return None
    from mlsrv_opentelemetry.rpc import TracedCalls

    return TracedCalls(tracing)


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_kafka_observer(kernel: KernelAPI) -> TracedRecords | None:
    """Offer the spans of records from Kafka."""
    settings = kernel.settings.plain()
    tracing = _tracing(kernel.shared, settings)
    if tracing is None:
        return None
    from mlsrv_opentelemetry.messaging import TracedRecords

    return TracedRecords(tracing, settings["kafka_group"])


def _tracing(shared: Shared, settings: Mapping[str, Any]) -> Tracing | None:
    """Return the tracing of this kernel, or of this worker process; None if the settings name no
    collector."""
    if not settings.get("tracing_server"):
        return None
    from mlsrv_opentelemetry.tracing import Target, Tracing

    return shared.get(Tracing, lambda: Tracing(Target.of(settings)))
