"""The spans of requests to a kernel in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import mlsrv_numpy.plugin
from collector import Collector, grpc_collector
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.codecs import decode_args
from mlsrv.context import CallContext, current_context
from mlsrv.errors import InferenceError, MLSrvError, ModelFailed
from mlsrv.handlers import custom_handler
from mlsrv.testing import EchoModel, SlowModel, ThreadedEchoModel, tensor_request, text_request
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput

tracer = trace.get_tracer("a model")

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-00"}


class Tracing(MLModel):
    """Uses the live span, and makes one of its own."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        trace.get_current_span().set_attribute("asked", payload.inputs[0].data[0])
        await self._look()
        return InferenceResponse()

    @tracer.start_as_current_span("look")
    async def _look(self) -> None:
        await asyncio.sleep(0)
        trace.get_current_span().add_event("seen")


class ThreadedTracing(MLModel):
    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # in a thread
        trace.get_current_span().set_attribute("asked", payload.inputs[0].data[0])
        with tracer.start_as_current_span("look") as span:
            span.add_event("seen")
        return InferenceResponse()


class Coding(MLModel):
    @decode_args
    def predict(self, x: np.ndarray) -> np.ndarray:
        return x


class Failing(MLModel):
    """Fails as it is told."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        if payload.inputs[0].data[0] == "refuse":
            raise InferenceError("not like this")
        raise ValueError("a secret")


class Streaming(MLModel):
    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for number in range(3):
                trace.get_current_span().add_event(f"step {number}")
                yield InferenceResponse()
            if payload.inputs[0].data[0] == "fail":
                raise ValueError("half-way")


class Told(MLModel):
    """Answers with the trace that it was called in."""

    @staticmethod
    def _answer() -> InferenceResponse:
        context = current_context.get()
        assert context is not None
        found = trace.get_current_span().get_span_context()
        texts = [context.trace["traceparent"], f"{found.trace_id:032x}", str(int(found.trace_flags) & 1)]
        return InferenceResponse(outputs=[ResponseOutput("told", [3], "BYTES", texts)])

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return self._answer()


class Handling(MLModel):
    @custom_handler("/look")
    async def look(self) -> str:
        trace.get_current_span().set_attribute("looked", True)
        return "seen"


async def test_a_request_is_one_trace(kernel_of: Any, collector: Collector) -> None:
    async with kernel_of(m=ThreadedEchoModel) as kernel:
        await kernel.loaded()
        await kernel.infer(tensor_request("m", [1.0]), CallContext("id-1"))
    (spans,) = collector.traces().values()
    assert sorted(span.name for span in spans) == ["infer m", "predict", "queue"]
    root, queue, predict = map(collector.one, ("infer m", "queue", "predict"))
    assert root.attributes == {"mlsrv.model.name": "m", "mlsrv.request.id": "id-1"}
    assert (root.parent, queue.parent, predict.parent) == ("", root.id, root.id)
    for span in (queue, predict):
        assert root.proto.start_time_unix_nano <= span.proto.start_time_unix_nano
        assert span.proto.start_time_unix_nano <= span.proto.end_time_unix_nano
        assert span.proto.end_time_unix_nano <= root.proto.end_time_unix_nano
    assert root.resource["service.name"] == "mlsrv"


async def test_codecs_are_children_of_predict(kernel_of: Any, collector: Collector) -> None:
    async with kernel_of(mlsrv_numpy.plugin, m=Coding) as kernel:
        await kernel.loaded()
        request = tensor_request("m", [1.0], name="x")
        await kernel.infer(request)
        with pytest.raises(MLSrvError):
            await kernel.infer(tensor_request("m", [1.0], name="y"))
    good, bad = collector.named("predict")
    decodes, encode = collector.named("decode"), collector.one("encode")
    assert [span.parent for span in decodes] == [good.id, bad.id]
    assert encode.parent == good.id
    assert (good.failed, bad.failed) == (False, True)


@pytest.mark.parametrize("model", [Tracing, ThreadedTracing])
async def test_model_code_finds_its_span_and_makes_children(
    kernel_of: Any, collector: Collector, model: type[MLModel]
) -> None:
    async with kernel_of(m=model) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("m", ["a"]))
    predict, look = collector.one("predict"), collector.one("look")
    assert predict.attributes["asked"] == "a"
    assert look.parent == predict.id
    assert [event.name for event in look.proto.events] == ["seen"]
    assert len(collector.traces()) == 1


async def test_failures_are_seen_by_the_operator_only(kernel_of: Any, collector: Collector) -> None:
    async with kernel_of(m=Failing) as kernel:
        await kernel.loaded()
        with pytest.raises(InferenceError):
            await kernel.infer(text_request("m", ["refuse"]))
        with pytest.raises(ModelFailed) as caught:
            await kernel.infer(text_request("m", ["fail"]))
    assert "Traceback" not in str(caught.value)
    refused, failed = collector.named("infer m")
    assert (refused.failed, failed.failed) == (True, True)
    assert [span.attributes["error.type"] for span in (refused, failed)] == ["INVALID_ARGUMENT", "INTERNAL"]
    _, predict = collector.named("predict")
    (event,) = predict.proto.events
    found = {pair.key: pair.value.string_value for pair in event.attributes}
    assert found["exception.type"] == "ValueError"
    assert "Traceback" in found["exception.stacktrace"]


async def test_a_stream_is_one_span_with_one_live_span(kernel_of: Any, collector: Collector) -> None:
    async with kernel_of(m=Streaming) as kernel:
        await kernel.loaded()
        assert len([response async for response in kernel.stream(text_request("m", ["a"]))]) == 3
        with pytest.raises(ModelFailed):
            async for _ in kernel.stream(text_request("m", ["fail"])):
                pass
        left = kernel.stream(text_request("m", ["a"]))
        await anext(left)
        await left.aclose()
    whole, failed, left = collector.named("infer m")
    assert [span.attributes["mlsrv.stream.responses"] for span in (whole, failed, left)] == [3, 3, 1]
    assert [span.failed for span in (whole, failed, left)] == [False, True, False]
    lives = collector.named("predict")
    assert [span.parent for span in lives] == [whole.id, failed.id, left.id]
    assert [event.name for event in lives[0].proto.events] == ["step 0", "step 1", "step 2"]
    assert [span.failed for span in lives] == [False, True, False]
    assert len(collector.traces()) == 3


async def test_a_cancelled_request_ends_its_spans(kernel_of: Any, collector: Collector) -> None:
    async with kernel_of(m=SlowModel) as kernel:
        await kernel.loaded()
        with pytest.raises(MLSrvError):
            await kernel.infer(text_request("m", ["a"]), CallContext.with_timeout(0.05))
    (spans,) = collector.traces().values()
    assert {span.name for span in spans} == {"infer m", "predict"}
    assert collector.one("infer m").attributes["error.type"] == "CancelledError"


async def test_the_callers_trace_goes_on(kernel_of: Any, collector: Collector) -> None:
    async with kernel_of(m=Told) as kernel:
        await kernel.loaded()
        context = CallContext(trace=SAMPLED)
        response = await kernel.infer(text_request("m", ["a"]), context)
        assert context.trace == SAMPLED, "it is the caller's again"
    root = collector.one("infer m")
    assert (root.trace, root.parent, root.proto.trace_state) == (TRACE, CALLER, "vendor=1")
    assert response.outputs[0].data == [f"00-{TRACE}-{root.id}-01", TRACE, "1"]


async def test_unrecorded_requests_are_not_exported(kernel_of: Any, collector: Collector) -> None:
    async with kernel_of(m=Told, t=Tracing) as kernel:
        await kernel.loaded()
        response = await kernel.infer(text_request("m", ["a"]), CallContext(trace=UNSAMPLED))
        await kernel.infer(text_request("t", ["a"]), CallContext(trace=UNSAMPLED))
    assert collector.spans == []
    assert response.outputs[0].data == [UNSAMPLED["traceparent"], TRACE, "0"], "but it goes on"


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{CALLER}",
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{CALLER}-01",
        f"00-{TRACE}-{CALLER}-0g",
        f"00-{TRACE.replace('0', 'x')}-{CALLER}-00",
        "é" * 55,
        "0" * 100_000,
    ],
)
async def test_a_malformed_traceparent_is_ignored(
    kernel_of: Any, collector: Collector, traceparent: str
) -> None:
    async with kernel_of(m=EchoModel) as kernel:
        await kernel.loaded()
        await kernel.infer(
            text_request("m", ["a"]), CallContext(trace={"traceparent": traceparent, "tracestate": "\x00=;"})
        )
    root = collector.one("infer m")
    assert root.parent == ""
    assert root.trace != TRACE


@pytest.mark.parametrize(("rate", "least", "most"), [(0, 0, 0), (0.5, 60, 140), (1, 200, 200)])
async def test_sampling(kernel_of: Any, collector: Collector, rate: float, least: int, most: int) -> None:
    """Of 200 requests, half are recorded: outside of 60 to 140 once in 100 million times."""
    async with kernel_of(m=Told, settings={"tracing_sample_rate": rate}) as kernel:
        await kernel.loaded()
        answers = [await kernel.infer(text_request("m", ["a"])) for _ in range(200)]
    recorded = [answer for answer in answers if answer.outputs[0].data[2] == "1"]
    assert least <= len(recorded) <= most
    assert len(collector.named("infer m")) == len(collector.named("predict")) == len(recorded)
    assert len(collector.traces()) == len(recorded)


async def test_an_embedding_application_may_have_a_span_of_its_own(
    kernel_of: Any, collector: Collector
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with kernel_of(m=EchoModel, h=Handling) as kernel:
        await kernel.loaded()
        with provider.get_tracer("app").start_as_current_span("app") as span:
            await kernel.infer(text_request("m", ["a"]))
            await kernel.call("h", None, "look", {})
        assert trace.get_current_span() is trace.INVALID_SPAN
    context = span.get_span_context()
    assert collector.one("infer m").parent == f"{context.span_id:016x}"
    looked = [span for span in collector.named("predict") if span.attributes["mlsrv.model.name"] == "h"]
    assert [(span.parent, span.attributes["looked"]) for span in looked] == [
        (f"{context.span_id:016x}", True)
    ]
    assert [span.name for span in exporter.get_finished_spans()] == ["app"]


async def test_two_kernels_do_not_see_each_other(kernel_of: Any, collector: Collector) -> None:
    with grpc_collector() as other:
        async with (
            kernel_of(a=Tracing) as one,
            kernel_of(
                b=Tracing, settings={"tracing_server": other.url, "tracing_service_name": "two"}
            ) as two,
        ):
            await one.loaded()
            await two.loaded()
            requests = [one.infer(text_request("a", ["1"])), two.infer(text_request("b", ["2"]))]
            await asyncio.gather(*requests)
        for found, name, service in ((collector, "a", "mlsrv"), (other, "b", "two")):
            assert len(found.traces()) == 1
            assert sorted(span.name for span in found.spans) == [f"infer {name}", "look", "predict"]
            assert {span.resource["service.name"] for span in found.spans} == {service}


async def test_models_that_call_models_are_one_trace(kernel_of: Any, collector: Collector) -> None:
    kernels: list[Kernel] = []

    class Asking(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            payload.model_name = "inner"
            await kernels[0].infer(payload, current_context.get())
            return await kernels[0].infer(payload)

    async with kernel_of(outer=Asking, inner=EchoModel) as kernel:
        kernels.append(kernel)
        await kernel.loaded()
        await kernel.infer(text_request("outer", ["a"]))
    assert len(collector.traces()) == 1
    predict, *_ = collector.named("predict")
    outer, inner = collector.one("infer outer"), collector.named("infer inner")
    assert predict.parent == outer.id
    assert [span.parent for span in inner] == [outer.id, predict.id]


async def test_without_a_collector_there_is_nothing(kernel_of: Any) -> None:
    async with kernel_of(m=Told, settings={"tracing_server": None}) as kernel:
        await kernel.loaded()
        interceptors = kernel.handle("m").loaded().interceptors
        assert not [one for one in interceptors if type(one).__module__.startswith("mlsrv_opentelemetry")]
        with pytest.raises(ModelFailed, match="KeyError"):
            await kernel.infer(text_request("m", ["a"]))


async def test_a_warm_up_is_no_request(kernel_of: Any, collector: Collector) -> None:
    class Warm(Tracing):
        async def load(self) -> bool:
            with tracer.start_as_current_span("load"):
                return True

    warm_up = {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
    async with kernel_of(m=ModelSettings(name="m", implementation=Warm, warm_up=warm_up)) as kernel:
        await kernel.loaded()
        assert kernel.ready
    assert collector.spans == []
