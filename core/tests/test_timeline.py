"""Timeline: the phases of a request in the order of the clock, measured with an observer only."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest

import mlsrv
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.codecs import InputCodec, decode_args
from mlsrv.context import CallContext, current_context
from mlsrv.errors import ModelFailed
from mlsrv.interceptor import CallNext, Interceptor, Phase, StreamNext
from mlsrv.testing import text_request
from mlsrv.timeline import MOST_SPANS, Stopwatch, Timeline, current_stopwatch, timed
from mlsrv.types import InferenceRequest, InferenceResponse, RequestInput, RequestOutput, ResponseOutput

MS = 1_000_000


class Slow(InputCodec):
    """Decodes in 10 ms, encodes in 20 ms; decoding a whole request decodes its input, too."""

    ContentType = "slow"
    TypeHint = list[str]

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[str]:
        time.sleep(0.01)
        return list(request_input.data)

    @classmethod
    def encode_output(cls, name: str, payload: Any, use_bytes: bool = True) -> ResponseOutput:
        time.sleep(0.02)
        return ResponseOutput(name, [len(payload)], "BYTES", payload)


class Coded(MLModel):
    """Decodes, works for 30 ms, encodes; in a thread."""

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain
        value = self.decode(payload.inputs[0], Slow)
        time.sleep(0.03)
        return InferenceResponse(outputs=[self.encode(value, RequestOutput("x"), Slow)])


class CodedAsync(Coded):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # as the base of all
        return Coded.predict(self, payload)


class Decorated(MLModel):
    async def load(self) -> bool:
        self.codecs.add(mlsrv.CodecOffer("slow", Slow), "the test")
        return True

    @decode_args
    def predict(self, text: list[str]) -> list[str]:  # type: ignore[override]  # decode_args
        time.sleep(0.03)
        return text


class Failing(Coded):
    def predict(self, payload: InferenceRequest) -> InferenceResponse:
        self.decode(payload.inputs[0], Slow)
        raise ValueError("no")


class Streaming(MLModel):
    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for _ in range(2 * MOST_SPANS):
                self.decode(payload.inputs[0])
                yield InferenceResponse()


class Observer(Interceptor):
    """Keeps every timeline."""

    phase: ClassVar[Phase] = Phase.OBSERVE
    observes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.seen: list[Timeline] = []
        self.totals: list[int] = []

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        began = time.monotonic_ns()
        try:
            return await call_next(request, context)
        finally:
            self._keep(context, began)

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        began = time.monotonic_ns()
        async for response in call_next(requests, context):
            yield response
        self._keep(context, began)

    def _keep(self, context: CallContext, began: int) -> None:
        assert context.timeline is not None
        self.seen.append(context.timeline)
        self.totals.append(time.monotonic_ns() - began)


class Observing:
    def __init__(self, *observers: Interceptor) -> None:
        self._observers = observers

    @mlsrv.hookimpl
    def mlsrv_interceptors(self) -> tuple[Interceptor, ...]:
        return self._observers


def kernel_of(cls: type[MLModel], *observers: Interceptor) -> Kernel:
    model = ModelSettings(name="m", implementation=cls)
    return Kernel(plugins=[Observing(*observers)], models=[model], discover=False)


async def durations(cls: type[MLModel]) -> dict[str, int]:
    observer = Observer()
    async with kernel_of(cls, observer) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("m", ["a"], name="text"))
    (timeline,), (total,) = observer.seen, observer.totals
    assert sum(timeline.durations().values()) <= total
    assert all(begin <= end for _, begin, end in timeline.spans)
    return timeline.durations()


@pytest.mark.parametrize("cls", [Coded, CodedAsync, Decorated])
async def test_time_of_codecs_is_not_time_of_prediction(cls: type[MLModel]) -> None:
    found = await durations(cls)
    assert found["decode"] >= 10 * MS
    assert found["encode"] >= 20 * MS
    assert found["predict"] >= 30 * MS
    assert ("queue" in found) == (cls is not CodedAsync)


def ends(spans: list[tuple[str, int, int]]) -> list[int]:
    return [end for _, _, end in spans]


async def test_waiting_for_a_thread_is_queueing() -> None:
    observer = Observer()
    model = ModelSettings(name="m", implementation=Coded)
    async with Kernel(
        {"inline_threads": 1}, plugins=[Observing(observer)], models=[model], discover=False
    ) as kernel:
        await kernel.loaded()
        await asyncio.gather(*(kernel.infer(text_request("m", ["a"])) for _ in range(2)))
    first, second = sorted((timeline.spans for timeline in observer.seen), key=lambda spans: max(ends(spans)))
    for (phase, _, end), *others in (first, second):
        assert phase == "queue"
        assert end <= min(begin for _, begin, _ in others)
    _, asked, began = second[0]
    assert asked < max(ends(first)) <= began


async def test_failures_are_measured_too() -> None:
    observer = Observer()
    async with kernel_of(Failing, observer) as kernel:
        await kernel.loaded()
        with pytest.raises(ModelFailed):
            await kernel.infer(text_request("m", ["a"]))
    (timeline,) = observer.seen
    assert [phase for phase, _, _ in timeline.spans] == ["queue", "decode", "predict"]


async def test_long_streams_keep_sums_and_few_spans() -> None:
    observer = Observer()
    async with kernel_of(Streaming, observer) as kernel:
        await kernel.loaded()
        async for _ in kernel.stream(text_request("m", ["a"])):
            pass
    (timeline,) = observer.seen
    assert len(timeline.spans) == MOST_SPANS
    assert timeline.sums.keys() == {"decode", "predict"}
    assert timeline.durations()["decode"] > timeline.sums["decode"]


async def test_two_observers_share_one_timeline() -> None:
    one, two = Observer(), Observer()
    async with kernel_of(Coded, one, two) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("m", ["a"]))
    assert one.seen[0] is two.seen[0]


async def test_nothing_is_measured_without_an_observer() -> None:
    watched: list[object] = []

    class Plain(MLModel):
        def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # plain
            context = current_context.get()
            assert context is not None
            watched.extend([context.timeline, current_stopwatch.get()])
            return InferenceResponse()

    async with kernel_of(Plain) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("m", ["a"]))
    assert watched == [None, None]


async def test_a_model_that_calls_another_with_its_own_context_keeps_its_own_phases() -> None:
    kernel: Kernel
    observer = Observer()

    class Outer(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            self.decode(payload.inputs[0])
            await kernel.infer(text_request("m", ["a"]), current_context.get())
            self.decode(payload.inputs[0])
            return InferenceResponse()

    models = [ModelSettings(name=name, implementation=cls) for name, cls in (("m", Coded), ("o", Outer))]
    async with Kernel(plugins=[Observing(observer)], models=models, discover=False) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("o", ["a"]))
    inner, outer = observer.seen
    assert [phase for phase, _, _ in inner.spans] == ["queue", "decode", "encode", "predict"]
    assert [phase for phase, _, _ in outer.spans] == ["decode", "decode", "predict"]


def test_nested_timed_calls_count_once() -> None:
    timeline = Timeline()
    token = current_stopwatch.set(Stopwatch(timeline))
    try:
        assert timed("decode", lambda: timed("decode", lambda: timed("encode", int, "1"))) == 1
        with pytest.raises(ValueError, match="invalid"):
            timed("encode", int, "x")
    finally:
        current_stopwatch.reset(token)
    assert [phase for phase, _, _ in timeline.spans] == ["decode", "encode"]


def test_a_timeline_goes_through_plain_data() -> None:
    one, two = Timeline(), Timeline()
    for number in range(MOST_SPANS + 5):
        one.add("decode", number, number + 1)
    two.add("predict", 0, 100)
    two.extend(*one.plain())
    assert two.durations() == {"predict": 100 - MOST_SPANS - 5, "decode": MOST_SPANS + 5}


@pytest.fixture(autouse=True)
def nobody_watches() -> Iterator[None]:
    yield
    assert current_stopwatch.get() is None
