"""Observing: timelines, contexts and log records of batched requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import numpy as np
import pytest

import mlsrv
import mlsrv_batching.plugin
from mlsrv import CallContext, Kernel, MLModel, ModelSettings
from mlsrv.context import Batch, current_context
from mlsrv.errors import ModelFailed
from mlsrv.interceptor import CallNext, Interceptor, Phase
from mlsrv.testing import tensor_request
from mlsrv.timeline import Timeline
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput
from mlsrv_batching.batcher import Batcher
from mlsrv_batching.observing import batch_context


class Gated(MLModel):
    """Answers while the gate is open; keeps the context of each call. Fails at 66."""

    gate: asyncio.Event
    contexts: list[CallContext | None]

    async def load(self) -> bool:
        type(self).gate, type(self).contexts = asyncio.Event(), []
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        self.contexts.append(current_context.get())
        await self.gate.wait()
        tensor = payload.inputs[0]
        values = self.decode(tensor)
        if 66 in values:
            raise ValueError("sixty-six")
        return InferenceResponse(outputs=[ResponseOutput("y", tensor.shape, tensor.datatype, values)])


class Observer(Interceptor):
    phase: ClassVar[Phase] = Phase.OBSERVE
    observes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.seen: dict[str, Timeline] = {}
        self.batches: dict[str, tuple[Batch, ...]] = {}

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        try:
            return await call_next(request, context)
        finally:
            assert context.timeline is not None
            self.seen[context.request_id] = context.timeline
            self.batches[context.request_id] = context.batches

    @mlsrv.hookimpl
    def mlsrv_interceptors(self) -> Interceptor:
        return self


@asynccontextmanager
async def batched(*plugins: object) -> AsyncIterator[Kernel]:
    model = ModelSettings(name="m", implementation=Gated, max_batch_size=4, max_batch_time=5.0)
    async with Kernel(models=[model], plugins=[mlsrv_batching.plugin, *plugins], discover=False) as kernel:
        await kernel.loaded()
        yield kernel


async def one_then_together(kernel: Kernel, *values: int, rows: int = 1) -> list[object]:
    """Return the results of a request that keeps the model busy and of those that are joined meanwhile."""

    def ask(value: int) -> asyncio.Task[InferenceResponse]:
        context = CallContext(str(value), trace={"traceparent": f"trace-{value}"})
        return asyncio.create_task(
            kernel.infer(tensor_request("m", np.full((rows, 1), float(value))), context)
        )

    tasks = [ask(0)]
    (batcher,) = (one for one in kernel.handle("m").loaded().interceptors if isinstance(one, Batcher))
    async with asyncio.timeout(5):
        while not Gated.contexts:
            await asyncio.sleep(0)
        tasks += [ask(value) for value in values]
        while batcher.explain()["waiting_requests"] != len(values):
            await asyncio.sleep(0)
        Gated.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_id_of_a_batch_contains_those_of_its_members() -> None:
    async with batched() as kernel:
        await one_then_together(kernel, 1, 2)
    assert [context.request_id for context in Gated.contexts if context] == ["0", "1,2"]
    many = [CallContext(str(number)) for number in range(25)]
    assert batch_context(many).request_id == ",".join(map(str, range(20))) + ",+5"


async def test_in_a_failed_batch_each_failed_request_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with batched() as kernel:
        results = await one_then_together(kernel, 1, 66, 2)
    assert [isinstance(result, InferenceResponse) for result in results] == [True, True, False, True]
    (record,) = [record for record in caplog.records if record.name == "mlsrv.requests"]
    assert record.__dict__["request_id"] == "66"


async def test_members_have_their_batch_and_its_spans_in_their_timeline() -> None:
    observer = Observer()
    async with batched(observer) as kernel:
        await one_then_together(kernel, 1, 2)
    alone, one, two = (observer.seen[name] for name in "012")
    assert [batch.rows for batch in observer.batches["0"]] == [1]
    assert observer.batches["1"] == observer.batches["2"]
    (batch,) = observer.batches["1"]
    assert ([context.request_id for context in batch.contexts], batch.rows) == (["1", "2"], 2)
    assert [phase for phase, _, _ in one.spans] == ["batch", "decode", "predict"]
    assert one.spans[1:] == two.spans[1:], "spans of the batch"
    ((_, busy_from, busy_to),) = [span for span in alone.spans if span[0] == "predict"]
    _, waited_from, waited_to = one.spans[0]
    assert busy_from < waited_from < busy_to < waited_to
    assert alone.durations()["batch"] < one.durations()["batch"]


async def test_the_context_of_a_batch_has_the_trace_of_its_first_member() -> None:
    async with batched(Observer()) as kernel:
        await one_then_together(kernel, 1, 2)
    _, together = Gated.contexts
    assert together is not None
    assert together.trace == {"traceparent": "trace-1"}
    assert [link.trace["traceparent"] for link in together.links] == ["trace-1", "trace-2"]


async def test_a_failed_batch_and_the_runs_of_its_members_are_all_in_timelines() -> None:
    observer = Observer()
    async with batched(observer) as kernel:
        results = await one_then_together(kernel, 1, 66)
    assert [isinstance(result, ModelFailed) for result in results] == [False, False, True]
    for name in ("1", "66"):
        phases = [phase for phase, _, _ in observer.seen[name].spans]
        assert phases.count("predict") == 2, "in the batch, then alone"


async def test_pieces_of_a_large_request_share_its_timeline() -> None:
    observer = Observer()
    async with batched(observer) as kernel:
        Gated.gate.set()
        await kernel.infer(tensor_request("m", np.ones((10, 1))), CallContext("large"))
    timeline = observer.seen["large"]
    assert sorted(batch.rows for batch in observer.batches["large"]) == [2, 4, 4]
    assert [phase for phase, _, _ in timeline.spans].count("predict") == 3


async def test_without_an_observer_there_are_no_timelines() -> None:
    async with batched() as kernel:
        await one_then_together(kernel, 1, 2)
    assert [context.timeline for context in Gated.contexts if context is not None] == [None, None]


@pytest.fixture(autouse=True)
def forget() -> None:
    Gated.contexts = []
