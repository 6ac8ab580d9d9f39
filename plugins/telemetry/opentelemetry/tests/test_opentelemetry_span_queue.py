"""Span queue: spans with a slow, failing or absent collector, which never delays requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from collector import SECONDS, Collector, grpc_collector, http_collector
from mlsrv.errors import ConfigurationError
from mlsrv.testing import EchoModel, text_request
from mlsrv_opentelemetry.exporters import LOGGERS
from mlsrv_opentelemetry.span_queue import SpanQueue
from mlsrv_opentelemetry.tracing import PATIENCE, Target, Tracing

ABSENT = "http://127.0.0.1:9"


class Scripted(SpanExporter):
    """Waits until it may go on, then does what it is told."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.waiting = threading.Event()
        self.outcome: SpanExportResult | Exception = SpanExportResult.SUCCESS
        self.sent: list[str] = []
        self.closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.waiting.set()
        assert self.go_on.wait(SECONDS)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome is SpanExportResult.SUCCESS:
            self.sent += [span.name for span in spans]
        return self.outcome

    def shutdown(self) -> None:
        self.closed = True


def spans(span_queue: SpanQueue, *names: str) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(span_queue)
    for name in names:
        provider.get_tracer("test").start_span(name).end()


@pytest.fixture
def exporter() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.go_on.set()


def test_spans_above_the_limit_are_dropped_counted_and_logged_once(
    exporter: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    span_queue = SpanQueue(exporter, "there", limit=2)
    spans(span_queue, "a", "b")
    assert exporter.waiting.wait(SECONDS)
    spans(span_queue, "c", "d", "e", "f")
    assert span_queue.lost == 2
    exporter.go_on.set()
    span_queue.shutdown()
    assert sorted(exporter.sent) == ["a", "b", "c", "d"]
    assert exporter.closed
    messages = [record.message for record in caplog.records]
    assert messages == [
        "Spans are dropped, because 2 already wait for there",
        "2 spans did not reach there",
    ]


@pytest.mark.parametrize("outcome", [SpanExportResult.FAILURE, OSError("no route")])
def test_failed_exports_are_counted_and_logged_once(
    exporter: Scripted, caplog: pytest.LogCaptureFixture, outcome: Any
) -> None:
    exporter.outcome = outcome
    exporter.go_on.set()
    span_queue = SpanQueue(exporter, "there", limit=100)
    for name in ("a", "b"):
        spans(span_queue, name)
        assert span_queue.force_flush()
    assert span_queue.lost == 2
    exporter.outcome = SpanExportResult.SUCCESS
    spans(span_queue, "c")
    span_queue.shutdown()
    assert exporter.sent == ["c"]
    first, again, last = [record.message for record in caplog.records]
    assert first.startswith("Spans do not reach there and are dropped: ")
    assert "OSError: no route" in first or outcome is SpanExportResult.FAILURE
    assert again == "Spans reach there again; 2 were dropped before"
    assert last == "2 spans did not reach there"


def test_nothing_is_sent_after_an_abort(exporter: Scripted) -> None:
    span_queue = SpanQueue(exporter, "there", limit=100)
    span_queue.abort()
    spans(span_queue, "a")
    span_queue.shutdown()
    assert (exporter.sent, exporter.closed, span_queue.lost) == ([], True, 1)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_absent_collector_is_few_lines(caplog: pytest.LogCaptureFixture, protocol: Any) -> None:
    caplog.set_level(logging.INFO)
    tracing = Tracing(Target(ABSENT, protocol, 1.0, ("s", "1"), 100, False))
    for _ in range(1000):
        tracing.tracer.start_span("a").end()
    began = time.monotonic()
    tracing.close()
    assert time.monotonic() - began < PATIENCE + 10
    assert tracing.span_queue.lost == 1000
    full, failed, last = [record.message for record in caplog.records]
    assert full == f"Spans are dropped, because 100 already wait for {ABSENT}"
    assert failed.startswith(f"Spans do not reach {ABSENT} and are dropped: ")
    assert "refused" in failed or "UNAVAILABLE" in failed
    assert last == f"1000 spans did not reach {ABSENT}"
    tracing.close()
    assert len(caplog.records) == 3
    filters = [found for name in LOGGERS for found in logging.getLogger(name).filters]
    assert [found for found in filters if type(found).__module__.startswith("mlsrv")] == []


def test_a_collector_that_hangs_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()
    with grpc_collector(take=lambda request: released.wait(SECONDS)) as hanging:
        tracing = Tracing(Target(hanging.url, "grpc", 1.0, ("s", "1"), 100, False))
        for _ in range(1000):
            tracing.tracer.start_span("a").end()
        began = time.monotonic()
        tracing.close()
        assert time.monotonic() - began < PATIENCE + 10
        released.set()
    assert tracing.span_queue.lost >= 900


async def test_requests_are_answered_without_a_collector(kernel_of: Any, collector: Collector) -> None:
    async with kernel_of(
        m=EchoModel, settings={"tracing_server": ABSENT, "tracing_queue_size": 10}
    ) as kernel:
        await kernel.loaded()
        for _ in range(50):
            await kernel.infer(text_request("m", ["a"]))
        span_queue = kernel.shared.get(Tracing, lambda: pytest.fail("there is none")).span_queue
    assert span_queue.lost == 100, "two spans of each request"


@pytest.mark.parametrize("spelling", ["http://{}", "{}", "http://{}/"])
async def test_forms_of_the_collector_address(kernel_of: Any, spelling: str) -> None:
    for make, protocol in ((grpc_collector, "grpc"), (http_collector, "http/protobuf")):
        with make() as found:
            server = spelling.format(found.url.partition("://")[2])
            settings = {"tracing_server": server, "tracing_protocol": protocol}
            async with kernel_of(m=EchoModel, settings=settings) as kernel:
                await kernel.loaded()
                await kernel.infer(text_request("m", ["a"]))
            assert sorted(span.name for span in found.spans) == ["infer m", "predict"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tracing_server", "ftp://collector"),
        ("tracing_server", "http://"),
        ("tracing_server", "http://host:port"),
        ("tracing_server", "http://host:99999"),
        ("tracing_protocol", "thrift"),
        ("tracing_sample_rate", 1.5),
        ("tracing_sample_rate", -1),
        ("tracing_sample_rate", "often"),
        ("tracing_queue_size", 0),
    ],
)
def test_wrong_settings_are_refused(kernel_of: Any, name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        kernel_of(settings={name: value})
