"""Tracers for model code."""

from __future__ import annotations

from opentelemetry.context import Context, attach, detach, set_value
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import get_current_span, get_tracer_provider, set_span_in_context

from mlsrv_opentelemetry.providers import PROVIDER, ContextProvider, serve_get_tracer

TRACER = ContextProvider().get_tracer("library", "1.0")


@TRACER.start_as_current_span("decorated")
def decorated() -> bool:
    return get_current_span().is_recording()


@TRACER.start_as_current_span("awaited")
async def awaited() -> bool:
    return get_current_span().is_recording()


def recording() -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


async def test_spans_belong_to_the_provider_of_the_context() -> None:
    assert not decorated()
    for _ in range(2):
        provider, exporter = recording()
        token = attach(set_value(PROVIDER, provider))
        try:
            assert decorated()
            assert await awaited()
            with TRACER.start_as_current_span("outer") as outer:
                TRACER.start_span("child").end()
                TRACER.start_span("root", Context()).end()
                TRACER.start_span("given", set_span_in_context(outer)).end()
        finally:
            detach(token)
        spans = {span.name: span for span in exporter.get_finished_spans()}
        assert set(spans) == {"decorated", "awaited", "outer", "child", "root", "given"}
        assert [name for name, span in spans.items() if span.parent is not None] == ["child", "given"]
        scope = spans["child"].instrumentation_scope
        assert scope is not None
        assert (scope.name, scope.version) == ("library", "1.0")
    assert not await awaited()


def test_a_provider_that_is_there_stays() -> None:
    serve_get_tracer()
    before = get_tracer_provider()
    assert isinstance(before, ContextProvider)
    serve_get_tracer()
    assert get_tracer_provider() is before
