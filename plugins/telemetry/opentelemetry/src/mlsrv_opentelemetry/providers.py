"""Providers: the result of `opentelemetry.trace.get_tracer` in model code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.context import Context, create_key, get_value
from opentelemetry.trace import (
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    Tracer,
    TracerProvider,
    get_tracer_provider,
    set_tracer_provider,
)
from opentelemetry.util._decorator import _agnosticcontextmanager

PROVIDER = create_key("mlsrv-tracer-provider")
"""Key of OpenTelemetry's context: the provider of the kernel whose model runs."""


def serve_get_tracer() -> None:
    """Make `get_tracer` work in model code, unless the process has a provider already.

    OpenTelemetry has one provider for each process, and kernels must not see each other. Therefore the global
    provider delegates to that of the kernel whose model is running; outside of models it makes no spans.
    """
    if isinstance(get_tracer_provider(), ProxyTracerProvider):
        set_tracer_provider(ContextProvider())


class ContextProvider(TracerProvider):
    """Returns tracers that record with the provider of the current context."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return ContextTracer(*args, **kwargs)


class ContextTracer(Tracer):
    """Makes each span with the provider of the current context."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args = args
        self._kwargs = kwargs

    def start_span(self, name: str, context: Context | None = None, *args: Any, **kwargs: Any) -> Span:
        return self._tracer(context).start_span(name, context, *args, **kwargs)

    # Only OpenTelemetry's own decorator makes what can be put on coroutine functions, too.
    @_agnosticcontextmanager
    def start_as_current_span(
        self, name: str, context: Context | None = None, *args: Any, **kwargs: Any
    ) -> Iterator[Span]:
        with self._tracer(context).start_as_current_span(name, context, *args, **kwargs) as span:
            yield span

    def _tracer(self, context: Context | None) -> Tracer:
        found = get_value(PROVIDER, context) or get_value(PROVIDER)
        provider = found if isinstance(found, TracerProvider) else NoOpTracerProvider()
        return provider.get_tracer(*self._args, **self._kwargs)
