"""Traces of requests over REST and gRPC, with and without workers: what a collector gets."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from collector import Collector, Seen, grpc_collector
from mlsrv import ModelSettings
from mlsrv.testing import tensor_request, text_request
from mlsrv_protocol.grpc import INFERENCE, encode_request
from served import SECONDS, Served, served

MODELS = '''
import asyncio, os, threading
import mlsrv
from mlsrv.handlers import custom_handler
from mlsrv.types import InferenceResponse, ResponseOutput
from opentelemetry import trace

tracer = trace.get_tracer("models")

def answer(payload):
    tensor = payload.inputs[0]
    return InferenceResponse(outputs=[ResponseOutput("y", tensor.shape, tensor.datatype, tensor.data)])

class Asynchronous(mlsrv.MLModel):
    async def predict(self, payload):
        trace.get_current_span().set_attribute("pid", os.getpid())
        with tracer.start_as_current_span("inside"):
            await asyncio.sleep(0.001)
        return answer(payload)

    @custom_handler("/look")
    async def look(self) -> str:
        with tracer.start_as_current_span("looking"):
            return "seen"

class Threaded(mlsrv.MLModel):
    def predict(self, payload):
        trace.get_current_span().set_attribute("pid", os.getpid())
        with tracer.start_as_current_span("inside"):
            return answer(payload)

class Failing(mlsrv.MLModel):
    async def predict(self, payload):
        raise ValueError("a secret")

class Streaming(mlsrv.MLModel):
    async def predict_stream(self, payloads):
        async for payload in payloads:
            for number in range(3):
                with tracer.start_as_current_span("step"):
                    await asyncio.sleep(0)
                yield answer(payload)

class Slow(mlsrv.MLModel):
    """Takes as long as it is told by a file being there."""
    async def predict(self, payload):
        while os.path.exists(self.settings.parameters.extra["file"]):
            await asyncio.sleep(0.005)
        return answer(payload)
'''

BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
SERVER = {"json": "POST /v2/models/{model}/infer", "grpc": f"{INFERENCE}/ModelInfer"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with grpc_collector() as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path, collector: Collector) -> Any:
    """Serves models of `MODELS` by their classes' names, in lower case."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/models.py").write_text(MODELS)

    def make(
        *names: str, settings: dict[str, Any] | None = None, **model: Any
    ) -> AbstractAsyncContextManager[Served]:
        found = [
            ModelSettings(
                name=name.lower(),
                implementation=f"models.{name}",
                parameters={"extra": {"file": str(tmp_path / "wait")}},
                source=tmp_path / "models/model-settings.json",
                **model,
            )
            for name in names
        ]
        return served(found, **({"tracing_server": collector.url} | (settings or {})))

    return make


def above(span: Seen, spans: list[Seen]) -> list[str]:
    """The names of a span's ancestors, the nearest first."""
    by_id = {other.id: other for other in spans}
    found = []
    while span.parent in by_id:
        span = by_id[span.parent]
        found.append(span.name)
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("wire", ["json", "grpc"])
@pytest.mark.parametrize("name", ["Asynchronous", "Threaded"])
async def test_each_request_is_one_trace(
    serve: Any, collector: Collector, wire: str, workers: int, name: str
) -> None:
    async with serve(name, settings={"parallel_workers": workers}) as running:
        request = tensor_request(name.lower(), [1.0])
        await asyncio.gather(*(running.infer(wire, request) for _ in range(5)))
    traces = collector.traces()
    assert len(traces) == 5
    for spans in traces.values():
        found = {span.name: span for span in spans if span.name != "queue"}
        assert set(found) == {SERVER[wire], f"infer {name.lower()}", "predict", "inside"}
        assert above(found["inside"], spans) == ["predict", f"infer {name.lower()}", SERVER[wire]]
        server, predict = found[SERVER[wire]].proto, found["predict"]
        assert server.kind == server.SPAN_KIND_SERVER
        assert {found["inside"].pid, predict.pid} == {predict.attributes["pid"]}
        assert (predict.pid == os.getpid()) is not workers
        for span in spans:
            assert server.start_time_unix_nano <= span.proto.start_time_unix_nano
            assert span.proto.end_time_unix_nano <= server.end_time_unix_nano
            assert not span.failed


@pytest.mark.parametrize("workers", [0, 2])
async def test_a_batch_is_linked_with_its_members(
    serve: Any, collector: Collector, workers: int, tmp_path: Path
) -> None:
    batching = {"max_batch_size": 100, "max_batch_time": 30.0}
    (tmp_path / "wait").touch()
    async with serve("Slow", settings={"parallel_workers": workers}, **batching) as running:
        copies = max(1, workers)
        first = [
            asyncio.create_task(running.infer("json", tensor_request("slow", [0.0]))) for _ in range(copies)
        ]
        [batcher] = [
            one for one in running.kernel.handle("slow").loaded().interceptors if hasattr(one, "explain")
        ]
        await until(lambda: batcher.explain()["running"] == copies)
        more = [
            asyncio.create_task(running.infer(wire, tensor_request("slow", [1.0])))
            for wire in ("json", "grpc", "json")
        ]
        await until(lambda: batcher.explain()["waiting_requests"] == 3)
        (tmp_path / "wait").unlink()
        await asyncio.gather(*first, *more)
    traces = collector.traces()
    assert len(traces) == copies + 3
    batch = collector.one("batch slow")
    members = [span for span in collector.named("infer slow") if span.links]
    assert len(members) == 3
    assert batch.links == {member.id for member in members}
    assert batch.attributes["mlsrv.batch.requests"] == 3
    assert [member.links for member in members] == [{batch.id}] * 3
    (leader,) = [member for member in members if member.id == batch.parent]
    live = [span for span in traces[leader.trace] if span.name == "predict"]
    assert [span.parent for span in live] == [batch.id]
    for member in members:
        names = [span.name for span in traces[member.trace]]
        assert names.count("batch wait") == 1
        assert names.count("predict") == 1


@pytest.mark.parametrize("workers", [0, 1])
async def test_failures(
    serve: Any, collector: Collector, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve("Failing", settings={"parallel_workers": workers}) as running:
        async with httpx.AsyncClient(base_url=f"{running.rest}/v2/models", timeout=SECONDS) as client:
            answers = [
                await client.post("/failing/infer", json=BODY),
                await client.post("/unknown/infer", json=BODY),
                await client.post("/failing/infer", content=b"{"),
                await client.get(f"/failing/nothing/{'x' * 100}"),
            ]
        with pytest.raises(grpc.RpcError) as caught:
            await running.infer("grpc", text_request("failing", ["a"]))
        with pytest.raises(grpc.RpcError):
            await running.infer("grpc", text_request("unknown", ["a"]))
    assert [answer.status_code for answer in answers] == [500, 404, 400, 404]
    assert not any("Traceback" in answer.text for answer in answers)
    assert "Traceback" not in (caught.value.details() or "")
    traces = collector.traces()
    assert len(traces) == 6
    rest = collector.named(SERVER["json"])
    assert [(span.attributes["http.response.status_code"], span.failed) for span in rest] == [
        (500, True),
        (404, False),
        (400, False),
    ]
    assert collector.one("GET").attributes["http.response.status_code"] == 404
    rpcs = collector.named(SERVER["grpc"])
    assert [(span.attributes["rpc.grpc.status_code"], span.failed) for span in rpcs] == [
        (13, True),
        (5, False),
    ]
    predicts = collector.named("predict")
    assert len(predicts) == 2
    for span in predicts:
        assert span.failed
        (event,) = span.proto.events
        assert event.name == "exception"
    infers = collector.named("infer failing")
    assert all(span.failed for span in infers)
    logged = [getattr(record, "trace_id", None) for record in caplog.records if record.exc_info]
    assert logged == [span.trace for span in infers]


@pytest.mark.parametrize("workers", [0, 1])
async def test_streams(serve: Any, collector: Collector, workers: int) -> None:
    async with serve("Streaming", settings={"parallel_workers": workers}) as running:
        url = f"{running.rest}/v2/models/streaming/infer_stream"
        answer = await asyncio.to_thread(httpx.post, url, json=BODY, timeout=SECONDS)
        assert answer.text.count("data:") == 3
        assert await asyncio.to_thread(_stream, running.grpc) == 6
    traces = collector.traces()
    assert len(traces) == 2, "one for each HTTP request, one for each gRPC stream"
    rest = collector.one("POST /v2/models/{model}/infer_stream")
    rpc = collector.one(f"{INFERENCE}/ModelStreamInfer")
    infers = collector.named("infer streaming")
    assert sorted(span.parent for span in infers) == sorted([rest.id, rpc.id, rpc.id])
    assert {span.parent for span in collector.named("predict")} == {span.id for span in infers}
    steps = collector.named("step")
    assert len(steps) == 9
    assert {span.parent for span in steps} == {span.id for span in collector.named("predict")}


def _stream(target: str) -> int:
    requests = [encode_request(tensor_request("streaming", [1.0])) for _ in range(2)]
    with grpc.insecure_channel(target) as channel:
        method = channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")
        return len(list(method(iter(requests), timeout=SECONDS)))


@pytest.mark.parametrize("workers", [0, 1])
async def test_handlers_are_traced(serve: Any, collector: Collector, workers: int) -> None:
    async with serve("Asynchronous", settings={"parallel_workers": workers}) as running:
        url = f"{running.rest}/v2/models/asynchronous/look"
        assert (await asyncio.to_thread(httpx.post, url, timeout=SECONDS)).text == "seen"
    (spans,) = collector.traces().values()
    assert above(collector.one("looking"), spans) == ["predict", "POST /v2/models/{model}/look"]


TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("wire", ["json", "grpc"])
@pytest.mark.parametrize(
    ("traceparent", "goes_on", "recorded"),
    [
        (f"00-{TRACE}-{CALLER}-01", True, True),
        (f"00-{TRACE}-{CALLER}-00", True, False),
        (f"00-{TRACE}-{CALLER}", False, True),
        ("nonsense", False, True),
    ],
)
async def test_the_callers_decision_holds(
    serve: Any, collector: Collector, wire: str, traceparent: str, goes_on: bool, recorded: bool
) -> None:
    async with serve("Asynchronous", settings={"parallel_workers": 1}) as running:
        await asyncio.to_thread(_ask, running, wire, traceparent)
    traces = collector.traces()
    assert len(traces) == recorded
    if recorded:
        server = collector.one(SERVER[wire])
        assert ((server.trace, server.parent) == (TRACE, CALLER)) is goes_on
        assert len(collector.spans) > 3


def _ask(running: Served, wire: str, traceparent: str) -> None:
    request = tensor_request("asynchronous", [1.0])
    if wire == "grpc":
        with grpc.insecure_channel(running.grpc) as channel:
            method = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
            method(encode_request(request), metadata=[("traceparent", traceparent)], timeout=SECONDS)
        return
    url = f"{running.rest}/v2/models/asynchronous/infer"
    answer = httpx.post(url, json=BODY, headers={"traceparent": traceparent}, timeout=SECONDS)
    assert answer.status_code == 200
    assert "traceparent" not in answer.headers


async def test_only_a_share_is_recorded_over_the_wire(serve: Any, collector: Collector) -> None:
    """Of 60 requests, all but none is recorded: 0 or 60 come once in 10^18 times."""
    async with serve("Asynchronous", settings={"tracing_sample_rate": 0.5, "parallel_workers": 1}) as running:
        for _ in range(30):
            for wire in SERVER:
                await running.infer(wire, tensor_request("asynchronous", [1.0]))
    traces = collector.traces()
    assert 0 < len(traces) < 60
    for spans in traces.values():
        assert {span.name for span in spans} >= {"infer asynchronous", "predict", "inside"}


async def test_health_checks_are_not_traced(serve: Any, collector: Collector) -> None:
    async with serve("Asynchronous") as running:
        async with httpx.AsyncClient(base_url=running.rest, timeout=SECONDS) as client:
            for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/asynchronous/ready"):
                assert (await client.get(path)).status_code == 200
            await client.get("/v2/models/asynchronous")
        async with grpc.aio.insecure_channel(running.grpc) as channel:
            for call in (
                f"{INFERENCE}/ServerLive",
                "grpc.health.v1.Health/Check",
                f"{INFERENCE}/ServerMetadata",
            ):
                await channel.unary_unary(f"/{call}")(b"", timeout=SECONDS)
    assert {span.name for span in collector.spans} == {
        f"{INFERENCE}/ServerMetadata",
        "GET /v2/models/{model}",
    }


async def test_spans_still_come_after_a_worker_was_killed(
    serve: Any, collector: Collector, tmp_path: Path
) -> None:
    async with serve("Slow", settings={"parallel_workers": 1}) as running:
        await running.infer("json", tensor_request("slow", [1.0]))
        collector.wait(lambda spans: any(span.name == "predict" for span in spans))
        killed = collector.one("predict").pid
        os.kill(killed, signal.SIGKILL)
        await until(lambda: not running.kernel.ready)
        await until(lambda: running.kernel.ready)
        await running.infer("json", tensor_request("slow", [1.0]))
    traces = collector.traces()
    assert len(traces) == 2
    _, after = collector.named("predict")
    assert after.pid not in (killed, os.getpid())


async def test_a_request_that_its_worker_took_along_leaves_its_spans(
    serve: Any, collector: Collector, tmp_path: Path
) -> None:
    async with serve("Slow", settings={"parallel_workers": 1}) as running:
        await running.infer("json", tensor_request("slow", [1.0]))
        collector.wait(lambda spans: any(span.name == "predict" for span in spans))
        (tmp_path / "wait").touch()
        asking = asyncio.create_task(running.infer("json", tensor_request("slow", [1.0])))
        await until(lambda: running.kernel.handle("slow").loaded().in_flight == 1)
        os.kill(collector.one("predict").pid, signal.SIGKILL)
        with pytest.raises(AssertionError, match="ended unexpectedly"):
            await asking
    _, failed = collector.named("infer slow")
    assert failed.failed
    assert len(collector.traces()) == 2


async def until(condition: Any) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)
