"""The spans of HTTP requests, around any ASGI application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider

from collector import Collector
from mlsrv_opentelemetry.http import TracedApp
from mlsrv_opentelemetry.tracing import Target, Tracing


@pytest.fixture
def tracing(collector: Collector) -> Iterator[Tracing]:
    made = Tracing(Target(collector.url, "grpc", 1.0, ("s", "1"), 100, False))
    yield made
    made.close()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with its headers; fails, or says nothing, where its path says so."""
    if scope["path"] == "/fail":
        raise RuntimeError("no")
    if scope["path"] == "/silent":
        return
    scope["mlsrv.route"] = "/things/{thing}"
    lines = [b": ".join(pair) for pair in scope["headers"]]
    await send(
        {"type": "http.response.start", "status": 200 if scope["method"] == "GET" else 503, "headers": []}
    )
    await send({"type": "http.response.body", "body": b"\n".join(lines)})


async def ask(tracing: Tracing, method: str, path: str, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(TracedApp(app, tracing), client=("10.0.0.9", 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://test:81") as client:
        return await client.request(method, path, **options)


async def test_the_conventions(tracing: Tracing, collector: Collector) -> None:
    answer = await ask(tracing, "GET", "/things/1?a=b", headers={"user-agent": "me", "x-other": "kept"})
    await ask(tracing, "BREW", "/things/1")
    tracing.close()
    span = collector.one("GET /things/{thing}")
    assert span.attributes == {
        "client.address": "10.0.0.9",
        "client.port": 1234,
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/things/{thing}",
        "network.protocol.version": "1.1",
        "server.address": "test",
        "server.port": 81,
        "url.path": "/things/1",
        "url.query": "a=b",
        "url.scheme": "http",
        "user_agent.original": "me",
    }
    assert not span.failed
    assert f"traceparent: 00-{span.trace}-{span.id}-0" in answer.text
    assert "x-other: kept" in answer.text
    other = collector.one("HTTP /things/{thing}")
    assert other.attributes["http.request.method"] == "_OTHER"
    assert (other.failed, other.attributes["error.type"]) == (True, "503")


async def test_the_callers_headers_are_replaced(tracing: Tracing, collector: Collector) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-00", "tracestate": "a=1"}
    answer = await ask(tracing, "GET", "/things/1", headers=headers)
    assert answer.text.count("traceparent") == answer.text.count("tracestate") == 1
    assert f"traceparent: 00-{trace}-" in answer.text
    tracing.close()
    assert collector.spans == []


async def test_failing_and_silent_applications_end_their_span(tracing: Tracing, collector: Collector) -> None:
    with pytest.raises(RuntimeError):
        await ask(tracing, "GET", "/fail")
    with pytest.raises(AssertionError):
        await ask(tracing, "GET", "/silent")
    tracing.close()
    failed, silent = collector.named("GET")
    assert (failed.failed, failed.attributes["error.type"]) == (True, "RuntimeError")
    assert "http.response.status_code" not in silent.attributes


async def test_other_asgi_scopes_pass_unchanged(tracing: Tracing, collector: Collector) -> None:
    seen = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scopes: list[Any] = [{"type": "lifespan"}, {"type": "http", "path": "/v2/health/live", "headers": []}]
    for scope in scopes:
        await TracedApp(inner, tracing)(scope, None, None)
    tracing.close()
    assert seen == scopes
    assert collector.spans == []


async def test_an_application_around_has_the_span_above(tracing: Tracing, collector: Collector) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("app").start_as_current_span("around") as around:
        context = around.get_span_context()
        trace = f"{context.trace_id:032x}"
        for headers in ({}, {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}):
            await ask(tracing, "GET", "/things/1", headers=headers)
        other = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        await ask(tracing, "GET", "/things/1", headers=other)
    tracing.close()
    *inner, own = collector.named("GET /things/{thing}")
    assert [(span.trace, span.parent) for span in inner] == [(trace, f"{context.span_id:016x}")] * 2
    assert {span.proto.kind for span in inner} == {own.proto.SPAN_KIND_INTERNAL}
    assert (own.parent, own.proto.kind) == ("b7ad6b7169203331", own.proto.SPAN_KIND_SERVER)
