"""Contract of interceptors: the cases that each must pass."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, MLSrvError
from mlsrv.handlers import Arguments
from mlsrv.interceptor import Interceptor
from mlsrv.testing.requests import text_request
from mlsrv.utils import closing
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, ResponseOutput
from mlsrv_testing.contracts.running import run


class InterceptorContract(ABC):
    """Cases for an `Interceptor` that lets ordinary requests through.

    Override `make`; for one that looks at headers, `context`; for one that refuses, `refused_context`.
    """

    @abstractmethod
    def make(self) -> Interceptor:
        """A new interceptor, as for a load of a model."""

    def context(self) -> CallContext:
        """A new context of a request that is let through, with the headers that this takes."""
        return CallContext()

    def refused_context(self) -> CallContext | None:
        """A new context of requests that are refused, if there are any."""
        return None

    def test_an_answer_comes_through(self) -> None:
        """A request reaches the model, and the model's answer the client.

        Guards against: an interceptor that forgets to return, or changes names and data.
        """

        async def case() -> None:
            async with self.make() as interceptor:
                assert await self._ask(interceptor, _Model(), "a") == "a"

        run(case())

    def test_many_answers_stay_apart(self) -> None:
        """Each of many concurrent requests gets the answer to itself, with its own id.

        Guards against: a batch or a cache that hands one client the answer of another.
        """

        async def case() -> None:
            model = _Model()
            async with self.make() as interceptor:
                texts = [str(number % 7) for number in range(50)]
                answers = await asyncio.gather(*(self._respond(interceptor, model, text) for text in texts))
            assert [answer.outputs[0].data for answer in answers] == [[text] for text in texts]
            ids = [answer.id for answer in answers if answer.id is not None]
            assert len(set(ids)) == len(ids), "two answers carry one id"

        run(case())

    def test_a_failure_of_the_model_comes_through_unchanged(self) -> None:
        """The class and the sentence of an error are the model's.

        Guards against: errors whose status depends on what is installed between transport and model.
        """

        async def case() -> None:
            async with self.make() as interceptor:
                model = _Model(InferenceError("x must be positive"))
                for text in ("a", "a"):
                    with pytest.raises(InferenceError) as caught:
                        await self._ask(interceptor, model, text)
                    assert str(caught.value) == "x must be positive"
                assert await self._ask(interceptor, _Model(), "b") == "b"

        run(case())

    def test_a_cancelled_request_disturbs_no_other(self) -> None:
        """When one of several concurrent requests is cancelled, the others are answered.

        Guards against: a batch, or a computation that requests share, that dies or hangs with one of its
            members.
        """

        async def case() -> None:
            model = _Model(gate=asyncio.Event())
            async with self.make() as interceptor:
                texts = ("a", "a", "b")
                tasks = [asyncio.ensure_future(self._ask(interceptor, model, text)) for text in texts]
                await model.reached.wait()
                tasks[0].cancel()
                with pytest.raises(asyncio.CancelledError):
                    await tasks[0]
                model.gate.set()
                assert await asyncio.wait_for(asyncio.gather(*tasks[1:]), 10) == ["a", "b"]
                assert await self._ask(interceptor, model, "c") == "c"

        run(case())

    def test_what_it_holds_ends_with_it(self) -> None:
        """Leaving it leaves no tasks behind, and another one can be made at once, as a reload does.

        Guards against: flush loops that run on after the model was unloaded.
        """

        async def case() -> None:
            before = asyncio.all_tasks()
            for text in ("a", "b"):
                async with self.make() as interceptor:
                    assert await self._ask(interceptor, _Model(), text) == text
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - before
            assert not left, f"tasks are left: {left}"

        run(case())

    def test_streams_come_through(self) -> None:
        """All responses of a stream, in order.

        Guards against: a stream that is collected, cut or reordered.
        """

        async def case() -> None:
            async with self.make() as interceptor:
                found = [one async for one in self._stream(interceptor, _Model())]
            assert [one.outputs[0].data for one in found] == [["0"], ["1"], ["2"]]

        run(case())

    def test_handlers_come_through(self) -> None:
        """A custom handler gets its arguments, and the client its result.

        Guards against: an interceptor that breaks what is no inference.
        """

        async def case() -> None:
            async with self.make() as interceptor:
                arguments = {"body": "a"}
                assert await interceptor.call("explain", arguments, self.context(), _handler) == arguments

        run(case())

    def test_what_is_refused_is_refused_in_every_way(self) -> None:
        """A request, a stream and a call of a custom handler are refused, and do not reach the model.

        Guards against: a guard that clients pass by with a stream or a custom handler.
        """

        async def case() -> None:
            model = _Model()
            async with self.make() as interceptor:
                for ask in (self._refused_request, self._refused_stream, self._refused_call):
                    context = self.refused_context()
                    if context is not None:
                        with pytest.raises(MLSrvError):
                            await ask(interceptor, model, context)
                        assert not model.reached.is_set(), "what is refused reached the model"

        run(case())

    def test_closing_a_stream_reaches_the_model(self) -> None:
        """When the client goes away, the model's generator is closed.

        Guards against: models that generate without a reader.
        """

        async def case() -> None:
            model = _Model()
            async with self.make() as interceptor:
                responses = self._stream(interceptor, model)
                await anext(responses)
                await responses.aclose()  # type: ignore[attr-defined]  # an async generator
            assert model.closed, "the model's stream was not closed"

        run(case())

    async def _respond(
        self, interceptor: Interceptor, model: _Model, text: str, context: CallContext | None = None
    ) -> InferenceResponse:
        context = context or self.context()
        return await interceptor(text_request("m", [text], id=context.request_id), context, model.infer)

    async def _ask(self, interceptor: Interceptor, model: _Model, text: str) -> Any:
        return (await self._respond(interceptor, model, text)).outputs[0].data[0]

    async def _stream(
        self, interceptor: Interceptor, model: _Model, context: CallContext | None = None
    ) -> AsyncIterator[InferenceResponse]:
        responses = interceptor.stream(_requests(), context or self.context(), model.stream)
        async with closing(responses):
            async for response in responses:
                yield response

    async def _refused_request(self, interceptor: Interceptor, model: _Model, context: CallContext) -> None:
        await self._respond(interceptor, model, "a", context)

    async def _refused_stream(self, interceptor: Interceptor, model: _Model, context: CallContext) -> None:
        async for _ in self._stream(interceptor, model, context):
            pass

    async def _refused_call(self, interceptor: Interceptor, model: _Model, context: CallContext) -> None:
        await interceptor.call("explain", {}, context, model.call)


class _Model:
    """The innermost part of a pipeline: answers each request with its texts."""

    def __init__(self, error: Exception | None = None, gate: asyncio.Event | None = None) -> None:
        self.error = error
        self.gate = gate or asyncio.Event()
        self.reached = asyncio.Event()
        self.closed = False
        if gate is None:
            self.gate.set()

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        self.reached.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        outputs = [
            ResponseOutput(name=one.name, shape=one.shape, datatype=one.datatype, data=list(one.data))
            for one in request.inputs
        ]
        return InferenceResponse("m", outputs, id=request.id)

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        try:
            async for request in requests:
                for number in range(3):
                    response = await self.infer(request, context)
                    response.outputs[0].data = [str(number)]
                    yield response
        finally:
            self.closed = True

    async def call(self, method: str, arguments: Arguments, context: CallContext) -> None:
        self.reached.set()


async def _handler(method: str, arguments: Arguments, context: CallContext) -> Any:
    return arguments


async def _requests() -> AsyncIterator[InferenceRequest]:
    yield text_request("m", ["a"])
