"""Interceptors around a placement: composed once, outermost first."""

from collections.abc import AsyncIterator
from typing import Any

from mlsrv.context import CallContext
from mlsrv.dataplane.pipeline import compile_call, compile_infer, compile_stream
from mlsrv.executor import Placement
from mlsrv.interceptor import CallNext, Interceptor, StreamNext
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse


class Recording(Placement):
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        self.seen.append("placement")
        return InferenceResponse(model_name="m")

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        async for _ in requests:
            self.seen.append("placement")
            yield InferenceResponse(model_name="m")

    async def call(self, method: str, arguments: Any, context: CallContext) -> str:
        self.seen.append("placement")
        return method

    async def unload(self) -> None: ...


class Around(Interceptor):
    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        self.seen.append(f"> {self.name}")
        response = await call_next(request, context)
        self.seen.append(f"< {self.name}")
        return response


class AroundStreams(Around):
    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        self.seen.append(f"> {self.name}")
        async for response in call_next(requests, context):
            yield response
        self.seen.append(f"< {self.name}")


class Answering(Around):
    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        return InferenceResponse(model_name=self.name)


async def one() -> AsyncIterator[InferenceRequest]:
    yield text_request("m", ["a"])


async def test_the_first_interceptor_is_the_outermost() -> None:
    placement = Recording()
    infer = compile_infer([Around("a", placement.seen), Around("b", placement.seen)], placement.infer)
    response = await infer(text_request("m", ["x"]), CallContext())
    assert response.model_name == "m"
    assert placement.seen == ["> a", "> b", "placement", "< b", "< a"]


async def test_without_interceptors_the_placement_is_called_itself() -> None:
    placement = Recording()
    assert compile_infer([], placement.infer) == placement.infer
    assert compile_stream([], placement) == placement.stream


async def test_an_interceptor_may_answer_by_itself() -> None:
    placement = Recording()
    infer = compile_infer([Answering("cache", placement.seen)], placement.infer)
    assert (await infer(text_request("m", ["x"]), CallContext())).model_name == "cache"
    assert placement.seen == []


class AroundInference(Around):
    infer_only = True


async def test_streams_pass_by_interceptors_of_single_requests() -> None:
    placement = Recording()
    around = [
        AroundInference("a", placement.seen),
        AroundStreams("b", placement.seen),
        AroundStreams("c", placement.seen),
    ]
    stream = compile_stream(around, placement)
    assert len([response async for response in stream(one(), CallContext())]) == 1
    assert placement.seen == ["> b", "> c", "placement", "< c", "< b"]
    assert compile_stream(around[:1], placement) == placement.stream
    assert compile_call(around[:1], placement) == placement.call


async def test_streams_and_handlers_go_through_interceptors_of_requests() -> None:
    placement = Recording()
    around = [Around("a", placement.seen), AroundInference("b", placement.seen), Around("c", placement.seen)]
    stream = compile_stream(around, placement)
    assert len([response async for response in stream(one(), CallContext())]) == 1
    assert await compile_call(around, placement)("method", {}, CallContext()) == "method"
    assert placement.seen == ["> a", "> c", "placement", "< c", "< a"] * 2
