"""Interceptors that override `__call__` alone: what they see of streams and of custom handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar

import pytest

import mlsrv
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, ModelFailed, Overloaded, PluginError
from mlsrv.handlers import custom_handler
from mlsrv.interceptor import CallNext, HandlerNext, Interceptor, Phase
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput


class Counter(MLModel):
    """Streams as many numbers as the texts of the input say, and knows when its stream is closed."""

    closed: ClassVar[int] = 0

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(outputs=[ResponseOutput("n", [1], "INT64", [-1])])

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        try:
            async for payload in payloads:
                if payload.inputs[0].data == ["broken"]:
                    raise ValueError("no numbers")
                for number in range(int(payload.inputs[0].data[0])):
                    yield InferenceResponse(outputs=[ResponseOutput("n", [1], "INT64", [number])])
        finally:
            type(self).closed += 1

    @custom_handler("/double")
    async def double(self, body: Any) -> Any:
        return body * 2

    @custom_handler("/broken")
    async def broken(self) -> Any:
        raise ValueError("no answer")


class Guard(Interceptor):
    """Refuses those whose header says so, and notes what it sees."""

    seen: ClassVar[list[Any]] = []

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        self.seen.append((request.model_name, len(request.inputs), context.headers.get("tenant")))
        if context.headers.get("tenant") == "poor":
            raise Overloaded("The quota is used up.")
        response = await call_next(request, context)
        self.seen.append([output.data for output in response.outputs])
        return response


class Bystander(Guard):
    infer_only = True


class Keeper(Guard):
    phase = Phase.CACHE


class Joiner(Guard):
    phase = Phase.BATCH


class Alone(Interceptor):
    """Answers by itself."""

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        return InferenceResponse("m", [ResponseOutput("n", [1], "INT64", [42])])


class Twice(Interceptor):
    """Asks again after a failure, and then without one."""

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        try:
            await call_next(request, context)
        except ModelFailed:
            pass
        return await call_next(text_request("m", ["2"]), context)


class Instead(Interceptor):
    """Answers in place of a model that fails."""

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        try:
            return await call_next(request, context)
        except ModelFailed:
            return InferenceResponse("m", [ResponseOutput("n", [1], "INT64", [7])])


class Own(Guard):
    """Has a way of its own for handlers."""

    async def call(self, method: str, arguments: Any, context: CallContext, call_next: HandlerNext) -> Any:
        if method == "double":
            raise InferenceError("Nothing is doubled here.")
        return await call_next(method, arguments, context)


class Plugin:
    def __init__(self, *interceptors: type[Interceptor]) -> None:
        self._interceptors = interceptors

    @mlsrv.hookimpl
    def mlsrv_interceptors(self) -> list[Interceptor]:
        return [interceptor() for interceptor in self._interceptors]


def kernel(*interceptors: type[Interceptor]) -> Kernel:
    Guard.seen.clear()
    Counter.closed = 0
    model = ModelSettings(name="m", implementation=Counter)
    return Kernel(plugins=[Plugin(*interceptors)], models=[model], discover=False)


def of(tenant: str) -> CallContext:
    return CallContext(headers={"tenant": tenant})


async def streamed(running: Kernel, *texts: str, context: CallContext | None = None) -> list[int]:
    async def requests() -> AsyncIterator[InferenceRequest]:
        for text in texts:
            yield text_request("m", [text])

    async with aclosing(running.stream(requests(), context)) as responses:  # type: ignore[type-var]  # a generator
        return [response.outputs[0].data[0] async for response in responses]


async def test_a_guard_refuses_every_way_to_a_model() -> None:
    async with kernel(Guard) as running:
        await running.loaded()
        for way in (
            running.infer(text_request("m", ["3"]), of("poor")),
            streamed(running, "3", context=of("poor")),
            running.call("m", None, "double", {"body": 2}, of("poor")),
        ):
            with pytest.raises(Overloaded, match="used up"):
                await way
        assert Guard.seen == [("m", 1, "poor"), ("m", 1, "poor"), ("m", 0, "poor")]
        assert Counter.closed == 0


async def test_a_guard_lets_streams_and_handlers_through() -> None:
    async with kernel(Guard, Guard) as running:
        await running.loaded()
        assert await streamed(running, "3", "2", context=of("rich")) == [0, 1, 2, 0, 1]
        assert Guard.seen == [("m", 1, "rich")] * 2 + [[[0]]] * 2
        Guard.seen.clear()
        assert await running.call("m", None, "double", {"body": 2}, of("rich")) == 4
        assert Guard.seen == [("m", 0, "rich")] * 2 + [[]] * 2
        with pytest.raises(ModelFailed, match="no answer"):
            await running.call("m", None, "broken", {})


async def test_the_request_of_a_handler_has_what_is_known_of_the_call() -> None:
    seen: list[InferenceRequest] = []

    class Noting(Interceptor):
        async def __call__(
            self, request: InferenceRequest, context: CallContext, call_next: CallNext
        ) -> InferenceResponse:
            seen.append(request)
            return await call_next(request, context)

    async with kernel(Noting) as running:
        await running.loaded()
        await running.call("m", None, "double", {"body": 2}, CallContext("r-1", headers={"x-a": "b"}))
    (request,) = seen
    assert (request.model_name, request.model_version, request.id) == ("m", None, "r-1")
    assert request.parameters is not None
    assert request.parameters.headers == {"x-a": "b"}


async def test_a_stream_without_a_response() -> None:
    async with kernel(Guard) as running:
        await running.loaded()
        assert await streamed(running, "0") == []
        assert Guard.seen == [("m", 1, None), []]


async def test_a_stream_that_fails() -> None:
    async with kernel(Guard) as running:
        await running.loaded()
        with pytest.raises(ModelFailed, match="no numbers"):
            await streamed(running, "broken")
        with pytest.raises(ModelFailed, match="no numbers"):
            await streamed(running, "2", "broken")
        assert Counter.closed == 2


async def test_a_stream_that_is_left_is_closed() -> None:
    async with kernel(Guard) as running:
        await running.loaded()
        responses: Any = running.stream(text_request("m", ["1000"]))
        assert (await anext(responses)).outputs[0].data == [0]
        await responses.aclose()
        assert Counter.closed == 1


async def test_a_stream_that_is_cancelled_before_its_first_response_is_closed() -> None:
    Counter.closed = 0
    began = asyncio.Event()

    class Waiting(Counter):
        async def predict_stream(
            self, payloads: AsyncIterator[InferenceRequest]
        ) -> AsyncIterator[InferenceResponse]:
            try:
                began.set()
                await asyncio.Event().wait()
                yield InferenceResponse(outputs=[])
            finally:
                Counter.closed += 1

    async with Kernel(
        plugins=[Plugin(Guard)], models=[ModelSettings(name="m", implementation=Waiting)], discover=False
    ) as made:
        await made.loaded()
        task = asyncio.create_task(streamed(made, "1"))
        await asyncio.wait_for(began.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert Counter.closed == 1


async def test_an_interceptor_may_ask_for_a_stream_again() -> None:
    async with kernel(Twice) as running:
        await running.loaded()
        assert await streamed(running, "broken") == [0, 1]
        assert await streamed(running, "3") == [0, 1]
        assert Counter.closed == 4


async def test_an_interceptor_may_answer_a_stream_by_itself() -> None:
    async with kernel(Alone) as running:
        await running.loaded()
        assert await streamed(running, "3") == [42]
        assert Counter.closed == 0
    async with kernel(Instead) as running:
        await running.loaded()
        assert await streamed(running, "broken") == [7]


async def test_an_interceptor_cannot_answer_a_handler_by_itself() -> None:
    async with kernel(Alone) as running:
        await running.loaded()
        with pytest.raises(PluginError, match="Alone answers the custom handler double of model m"):
            await running.call("m", None, "double", {"body": 2})


@pytest.mark.parametrize("kind", [Bystander, Keeper, Joiner])
async def test_streams_and_handlers_pass_by_those_that_say_so(kind: type[Interceptor]) -> None:
    async with kernel(kind) as running:
        await running.loaded()
        assert await streamed(running, "2", context=of("poor")) == [0, 1]
        assert await running.call("m", None, "double", {"body": 2}, of("poor")) == 4
        assert Guard.seen == []
        with pytest.raises(Overloaded):
            await running.infer(text_request("m", ["3"]), of("poor"))
        # The same holds without a pipeline, as for tests of an interceptor alone.
        alone = kind()
        through = alone.stream(_one(), of("poor"), lambda requests, _: requests)  # type: ignore[arg-type, return-value]  # no model is asked
        assert len([one async for one in through]) == 1

        async def handler(method: str, arguments: Any, context: CallContext) -> Any:
            return method

        assert await alone.call("double", {}, of("poor"), handler) == "double"


async def _one() -> AsyncIterator[InferenceRequest]:
    yield text_request("m", ["1"])


async def test_an_interceptor_may_have_a_way_of_its_own_for_handlers() -> None:
    async with kernel(Own) as running:
        await running.loaded()
        with pytest.raises(InferenceError, match="Nothing is doubled"):
            await running.call("m", None, "double", {"body": 2})
        with pytest.raises(ModelFailed, match="no answer"):
            await running.call("m", None, "broken", {})
        assert Guard.seen == []
