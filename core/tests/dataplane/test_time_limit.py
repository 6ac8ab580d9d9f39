"""The time limit of a model: requests end when it is over, and streams that make progress do not."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mlsrv import ModelSettings
from mlsrv.context import CallContext
from mlsrv.dataplane.admission import Admission
from mlsrv.dataplane.instance import Instance
from mlsrv.errors import DeadlineExceeded, MLSrvError
from mlsrv.executor import Placement
from mlsrv.testing import EchoModel, make_kernel, text_request
from mlsrv.types import InferenceRequest, InferenceResponse

REQUEST = text_request("m", ["a"])
SENTENCE = r"^Model m did not answer request \w+ within its request_timeout of 0.05 s.$"


class Slow(Placement):
    """Waits so many seconds for each answer."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds
        self.deadlines: list[float | None] = []

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        self.deadlines.append(context.deadline)
        await asyncio.sleep(self.seconds[0])
        return InferenceResponse(model_name="m")

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        async for _ in requests:
            for seconds in self.seconds:
                await asyncio.sleep(seconds)
                yield InferenceResponse(model_name="m")

    async def call(self, method: str, arguments: Any, context: CallContext) -> Any:
        return await self.infer(REQUEST, context)

    async def unload(self) -> None:
        return None


def instance_of(placement: Placement, limit: float | None = 0.05) -> Instance:
    admission = Admission("Model m", "model", 10, 1000)
    stack = AsyncExitStack()
    return Instance(ModelSettings(name="m"), placement, [], stack, admission, request_timeout=limit)


async def requests(*pauses: float) -> AsyncIterator[InferenceRequest]:
    yield REQUEST
    for pause in pauses:
        await asyncio.sleep(pause)
        yield REQUEST


async def test_a_request_without_a_deadline_ends_when_the_time_is_over() -> None:
    instance, context = instance_of(Slow(60)), CallContext()
    with pytest.raises(DeadlineExceeded, match=SENTENCE):
        await instance.infer(REQUEST, context)
    assert context.cancelled
    assert instance.in_flight == 0
    with pytest.raises(DeadlineExceeded, match=SENTENCE):
        await instance.call("extra", {}, CallContext())
    await instance.close(0)


@pytest.mark.parametrize(
    ("given", "text"), [(60.0, "within its request_timeout"), (0.01, "before the deadline")]
)
async def test_the_earlier_of_both_deadlines_applies(given: float, text: str) -> None:
    instance = instance_of(Slow(60))
    with pytest.raises(DeadlineExceeded, match=text):
        await instance.infer(REQUEST, CallContext.with_timeout(given))
    await instance.close(0)


async def test_requests_that_come_one_after_the_other_are_late_one_after_the_other() -> None:
    instance = instance_of(Slow(60), 0.1)

    async def ended() -> float:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await instance.infer(REQUEST, CallContext())
        return time.monotonic() - started

    tasks = []
    for _ in range(3):
        tasks.append(asyncio.ensure_future(ended()))
        await asyncio.sleep(0.04)
    assert all(0.09 < seconds < 1 for seconds in await asyncio.gather(*tasks))
    await instance.close(0)


async def test_a_context_can_be_used_again_after_an_answer() -> None:
    placement = Slow(0)
    instance, context = instance_of(placement), CallContext()
    await instance.infer(REQUEST, context)
    await instance.call("extra", {}, context)
    assert None not in placement.deadlines
    assert context.deadline is None
    await instance.close(0)


async def test_a_task_that_was_cancelled_before_and_went_on_learns_that_it_is_late() -> None:
    instance = instance_of(Slow(60))

    async def goes_on() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            with pytest.raises(DeadlineExceeded, match=SENTENCE):
                await instance.infer(REQUEST, CallContext())

    task = asyncio.ensure_future(goes_on())
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert task.cancelling() == 1
    await instance.close(0)


async def test_the_deadline_stays_when_the_client_leaves() -> None:
    placement = Slow(60)
    instance, context = instance_of(placement, 30.0), CallContext()
    running = asyncio.ensure_future(instance.infer(REQUEST, context))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert context.deadline is not None
    assert context.deadline == placement.deadlines[0]
    await instance.close(0)


async def test_without_a_limit_there_is_no_deadline() -> None:
    placement = Slow(0)
    await instance_of(placement, None).infer(REQUEST, CallContext())
    assert placement.deadlines == [None]


async def test_a_stream_may_last_as_long_as_its_responses_come_in_time() -> None:
    instance, context = instance_of(Slow(*[0.2] * 4), 0.6), CallContext()
    assert len([response async for response in instance.stream(requests(), context, REQUEST)]) == 4
    await instance.close(0)


async def test_a_stream_without_a_response_in_time_ends() -> None:
    instance, context = instance_of(Slow(0, 60)), CallContext()
    responses = instance.stream(requests(), context, REQUEST)
    await anext(responses)
    with pytest.raises(DeadlineExceeded, match=SENTENCE):
        await anext(responses)
    assert context.deadline is not None
    assert context.cancelled
    await instance.close(0)


async def test_the_time_in_which_a_stream_waits_for_its_client_does_not_count() -> None:
    instance, context = instance_of(Slow(0), 0.5), CallContext()
    answered = 0
    async for _ in instance.stream(requests(0.6, 0.6), context, REQUEST):
        answered += 1
        await asyncio.sleep(0.55)  # reads slowly, too
    assert answered == 3
    await instance.close(0)


async def test_a_request_that_ends_late_leaves_nothing_behind() -> None:
    instance = instance_of(Slow(60), 0.01)
    left = []
    gc.collect()
    gc.disable()
    try:
        for context in (CallContext(), CallContext.with_timeout(0.005)):
            task = asyncio.ensure_future(instance.infer(REQUEST, context))
            left.append(weakref.ref(task))
            await asyncio.wait({task})
            assert isinstance(task.exception(), DeadlineExceeded)
            del task, context
        await asyncio.sleep(0)
        assert [task() for task in left] == [None, None]
    finally:
        gc.enable()
    await instance.close(0)


class Hanging(EchoModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return await asyncio.Event().wait()  # type: ignore[return-value]  # never returns


@pytest.mark.parametrize(
    ("server", "own", "late"),
    [
        (0.05, {}, True),
        (60, {"request_timeout": 0.05}, True),
        (0.05, {"request_timeout": None}, False),
        (None, {}, False),
    ],
)
async def test_the_setting_of_a_model_wins_over_that_of_the_server(
    server: float | None, own: dict[str, Any], late: bool
) -> None:
    model = ModelSettings(name="m", implementation=Hanging, **own)
    async with make_kernel(model, request_timeout=server) as kernel:
        await kernel.loaded()
        async with asyncio.timeout(5):
            with pytest.raises(MLSrvError) as caught:
                await kernel.infer(REQUEST, None if late else CallContext.with_timeout(0.2))
    assert ("request_timeout" in str(caught.value)) is late
