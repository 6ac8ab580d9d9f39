"""One loaded instance: its limit, its deadlines, its drain."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest

from mlsrv import ModelSettings
from mlsrv.context import CallContext
from mlsrv.dataplane.admission import Admission
from mlsrv.dataplane.instance import LONGEST_RETRY, Instance
from mlsrv.errors import DeadlineExceeded, Overloaded, RequestCancelled
from mlsrv.executor import Placement
from mlsrv.handlers import HandlerRequest
from mlsrv.interceptor import Duration
from mlsrv.testing import tensor_request, text_request
from mlsrv.types import InferenceRequest, InferenceResponse

REQUEST = text_request("m", ["a"])


class Waiting(Placement):
    """Answers when a test says so."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self.contexts: list[CallContext] = []
        self.unloaded = 0
        self.closed_streams = 0
        self.failure: Exception | None = None

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        self.contexts.append(context)
        self.reached.set()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return InferenceResponse(model_name="m")

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        try:
            async for request in requests:
                yield InferenceResponse(model_name="m")
                yield await self.infer(request, context)
        finally:
            self.closed_streams += 1

    async def call(self, method: str, arguments: Any, context: CallContext) -> Any:
        await self.infer(REQUEST, context)
        return method

    async def unload(self) -> None:
        self.unloaded += 1
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def placement() -> Waiting:
    return Waiting()


def instance_of(placement: Waiting, limit: int = 10, most_bytes: int = 1000) -> Instance:
    stack = AsyncExitStack()
    stack.push_async_callback(placement.unload)
    admission = Admission("Model m", "model", limit, most_bytes)
    return Instance(ModelSettings(name="m"), placement, [], stack, admission)


async def requests() -> AsyncIterator[InferenceRequest]:
    yield REQUEST


async def test_one_more_than_the_limit_is_refused(placement: Waiting) -> None:
    instance = instance_of(placement, limit=2)
    running = [asyncio.ensure_future(instance.infer(REQUEST, CallContext())) for _ in range(2)]
    await placement.reached.wait()
    sentence = r"^Model m is overloaded: 2 requests are already waiting or running; try again later.$"
    with pytest.raises(Overloaded, match=sentence) as caught:
        await instance.infer(REQUEST, CallContext())
    assert caught.value.reason == "model_requests"
    assert caught.value.retry_after == 1.0
    with pytest.raises(Overloaded):
        await anext(instance.stream(requests(), CallContext()))
    with pytest.raises(Overloaded):
        await instance.call("extra", {}, CallContext())
    placement.open.set()
    await asyncio.gather(*running)
    assert instance.in_flight == 0
    await instance.infer(REQUEST, CallContext())


async def test_a_refusal_says_when_to_retry(placement: Waiting) -> None:
    instance = instance_of(placement, limit=1)
    for seconds, asked in ((20, 20.0), (600, LONGEST_RETRY)):
        instance._statistics.success = Duration(count=2, ns=2 * seconds * 10**9)
        running = asyncio.ensure_future(instance.infer(REQUEST, CallContext()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await instance.infer(REQUEST, CallContext())
        assert caught.value.retry_after == asked
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("how", ["infer", "stream", "call"])
async def test_bytes_count_until_a_request_is_given_up(placement: Waiting, how: str) -> None:
    request = tensor_request("m", np.zeros(10))
    body = HandlerRequest(body=bytes(80))
    instance = instance_of(placement, most_bytes=100)

    def start() -> asyncio.Future[Any]:
        if how == "infer":
            return asyncio.ensure_future(instance.infer(request, CallContext()))
        if how == "call":
            return asyncio.ensure_future(instance.call("extra", body, CallContext()))
        return asyncio.ensure_future(exhaust(instance.stream(requests(), CallContext(), request)))

    for _ in range(3):
        running = start()
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await start()
        assert caught.value.reason == "model_bytes"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (instance.in_flight, instance._admission.bytes) == (0, 0)


async def exhaust(responses: AsyncIterator[InferenceResponse]) -> None:
    async for _ in responses:
        pass


async def test_a_request_leaves_admission_however_it_ends(placement: Waiting) -> None:
    instance = instance_of(placement, limit=1)
    placement.failure = ValueError("no")
    placement.open.set()
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await instance.infer(REQUEST, CallContext())
        with pytest.raises(ValueError, match="no"):
            await instance.call("extra", {}, CallContext())
        with pytest.raises(ValueError, match="no"):
            assert [response async for response in instance.stream(requests(), CallContext())]
    assert instance.in_flight == 0


async def test_a_deadline_ends_a_request_and_cancels_its_context(placement: Waiting) -> None:
    instance = instance_of(placement)
    context = CallContext.with_timeout(0.02, request_id="r")
    with pytest.raises(DeadlineExceeded) as caught:
        await instance.infer(REQUEST, context)
    assert str(caught.value) == "Model m did not answer before the deadline of request r."
    assert context.given_up
    assert instance.in_flight == 0


async def test_a_deadline_ends_a_custom_handler(placement: Waiting) -> None:
    instance = instance_of(placement)
    with pytest.raises(DeadlineExceeded):
        await instance.call("extra", {}, CallContext.with_timeout(0.02))


async def test_a_deadline_ends_a_stream_between_its_responses(placement: Waiting) -> None:
    instance = instance_of(placement)
    responses = instance.stream(requests(), CallContext.with_timeout(0.02))
    await anext(responses)
    with pytest.raises(DeadlineExceeded):
        await anext(responses)
    assert (instance.in_flight, placement.closed_streams) == (0, 1)


async def test_an_answer_before_the_deadline_is_returned(placement: Waiting) -> None:
    instance = instance_of(placement)
    placement.open.set()
    assert (await instance.infer(REQUEST, CallContext.with_timeout(60))).model_name == "m"
    assert await instance.call("extra", {}, CallContext.with_timeout(60)) == "extra"
    assert len([one async for one in instance.stream(requests(), CallContext.with_timeout(60))]) == 2


async def test_a_timeout_of_the_model_itself_is_not_the_deadline(placement: Waiting) -> None:
    placement.failure = TimeoutError("the model's own")
    placement.open.set()
    with pytest.raises(TimeoutError, match="the model's own"):
        await instance_of(placement).infer(REQUEST, CallContext.with_timeout(60))


@pytest.mark.parametrize("what", ["infer", "call", "stream"])
async def test_cancelling_the_caller_cancels_the_context(placement: Waiting, what: str) -> None:
    instance = instance_of(placement)
    context = CallContext()

    async def caller() -> None:
        if what == "infer":
            await instance.infer(REQUEST, context)
        elif what == "call":
            await instance.call("extra", {}, context)
        else:
            async for _ in instance.stream(requests(), context):
                pass

    task = asyncio.ensure_future(caller())
    await placement.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert context.cancelled
    assert instance.in_flight == 0


async def test_a_stream_whose_context_is_cancelled_ends(placement: Waiting) -> None:
    placement.open.set()
    context = CallContext(request_id="r")
    responses = instance_of(placement).stream(requests(), context)
    await anext(responses)
    context.cancel()
    with pytest.raises(RequestCancelled, match=r"^Request r was cancelled"):
        await anext(responses)
    assert placement.closed_streams == 1


async def test_closing_a_stream_closes_the_models(placement: Waiting) -> None:
    instance = instance_of(placement)
    context = CallContext()
    responses = instance.stream(requests(), context)
    await anext(responses)
    await responses.aclose()  # type: ignore[attr-defined]  # an async generator
    assert (placement.closed_streams, instance.in_flight, context.cancelled) == (1, 0, True)


async def test_close_waits_for_requests_in_flight(placement: Waiting) -> None:
    instance = instance_of(placement)
    running = asyncio.ensure_future(instance.infer(REQUEST, CallContext()))
    await placement.reached.wait()
    closing = asyncio.ensure_future(instance.close(60))
    await asyncio.sleep(0)
    assert placement.unloaded == 0
    placement.open.set()
    assert await closing == 0
    assert running.done()
    assert placement.unloaded == 1


async def test_close_waits_no_longer_than_its_grace(placement: Waiting) -> None:
    instance = instance_of(placement)
    running = asyncio.ensure_future(instance.infer(REQUEST, CallContext()))
    await placement.reached.wait()
    assert await instance.close(0.02) == 1
    assert placement.unloaded == 1
    assert await instance.close(0) == 1
    assert placement.unloaded == 1
    placement.open.set()
    await running


async def test_an_unload_that_raises_is_logged(placement: Waiting, caplog: pytest.LogCaptureFixture) -> None:
    instance = instance_of(placement)
    placement.failure = OSError("stuck")
    assert await instance.close(0) == 0
    assert "Model m did not unload cleanly" in caplog.text
    assert "stuck" in caplog.text
