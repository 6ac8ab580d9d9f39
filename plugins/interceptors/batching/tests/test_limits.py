"""Limits: batches that are bounded by tokens, in a kernel with a plugin that counts them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

import mlsrv
import mlsrv_batching.plugin
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlsrv_batching.batcher import Batcher
from mlsrv_batching.limits import Limits


class Held(MLModel):
    """Echoes texts while the gate is open, and keeps the texts of each call."""

    calls: list[list[str]]
    gate: asyncio.Event

    async def load(self) -> bool:
        type(self).calls, type(self).gate = [], asyncio.Event()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        self.calls.append([str(one) for one in tensor.data])
        await self.gate.wait()
        return InferenceResponse(outputs=[ResponseOutput("y", tensor.shape, tensor.datatype, tensor.data)])


class Counting:
    """A plugin that counts characters."""

    def __init__(self, cost: Callable[[InferenceRequest], int] | None = None) -> None:
        self._cost = cost or (lambda request: sum(len(str(one)) for one in request.inputs[0].data))

    @mlsrv.hookimpl
    def mlsrv_batch_cost(self) -> Callable[[InferenceRequest], int]:
        return self._cost


def settings(**more: Any) -> ModelSettings:
    limits = {"max_batch_size": 8, "max_batch_time": 30.0, "max_batch_tokens": 10}
    return ModelSettings(name="m", implementation=Held, **{**limits, **more})


def kernel_of(model: ModelSettings, *plugins: object) -> Kernel:
    return Kernel(
        {"executor": "inline"}, models=[model], plugins=[mlsrv_batching.plugin, *plugins], discover=False
    )


async def answers_of(kernel: Kernel, texts: list[list[str]]) -> list[Any]:
    """Ask the first while the model is idle, and all others while it is busy; then let it go on."""
    tasks = []
    for index, one in enumerate(texts):
        tasks.append(asyncio.create_task(kernel.infer(text_request("m", one))))
        while index == 0 and not Held.calls:
            await asyncio.sleep(0)
    (batcher,) = (one for one in kernel.handle("m").loaded().interceptors if isinstance(one, Batcher))
    while batcher.explain()["waiting_requests"] < len(texts) - 1:
        await asyncio.sleep(0)
    Held.gate.set()
    return [list((await task).outputs[0].data) for task in tasks]


async def test_a_batch_has_no_more_tokens_than_the_limit() -> None:
    texts = [["first"], ["aaaa"], ["bbbb"], ["cc"], ["d" * 25], ["e", "e"], ["f"]]
    async with kernel_of(settings(), Counting()) as kernel:
        await kernel.loaded()
        assert await answers_of(kernel, texts) == texts
    assert Held.calls == [["first"], ["aaaa", "bbbb", "cc"], ["d" * 25], ["e", "e", "f"]]


async def test_the_limit_of_rows_still_holds() -> None:
    texts = [["first"], *([["a"]] * 5)]
    async with kernel_of(settings(max_batch_size=3), Counting()) as kernel:
        await kernel.loaded()
        await answers_of(kernel, texts)
    assert [len(call) for call in Held.calls] == [1, 3, 2]


async def test_a_counter_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: InferenceRequest) -> int:
        raise ZeroDivisionError

    texts = [["first"], ["a"], ["b"]]
    with caplog.at_level(logging.ERROR, "mlsrv.batching"):
        async with kernel_of(settings(), Counting(fail)) as kernel:
            await kernel.loaded()
            assert await answers_of(kernel, texts) == texts
    assert [record.message for record in caplog.records] == [
        "The tokens of a request could not be counted; it counts as one token"
    ]


async def test_no_plugin_counts() -> None:
    async with kernel_of(settings()) as kernel:
        await kernel.loaded()
        (item,) = await kernel.index()
        assert "max_batch_tokens needs a runtime that counts tokens" in item.reason


async def test_inputs_that_belong_to_no_row_are_not_joined() -> None:
    """Two requests with two texts and two labels each, which look as if they had two rows."""
    inputs = [
        {"name": "input", "datatype": "BYTES", "shape": [-1]},
        {"name": "labels", "datatype": "BYTES", "shape": [-1], "parameters": {"by_row": False}},
    ]
    model = settings(max_batch_tokens=0, inputs=inputs)

    def request(text: str) -> InferenceRequest:
        made = text_request("m", [text, text])
        made.inputs.append(RequestInput("labels", [2], "BYTES", [f"no {text}", text]))
        return made

    async with kernel_of(model) as kernel:
        await kernel.loaded()
        Held.gate.set()
        await asyncio.gather(*(kernel.infer(request(text)) for text in "abc"))
    assert Held.calls == [["a", "a"], ["b", "b"], ["c", "c"]]


def test_limits_without_tokens() -> None:
    limits = Limits(4)
    assert limits.tokens_of(text_request("m", ["a"])) == 0
    assert limits.take(4, 10**9)
    assert not limits.take(5, 0)
    assert limits.are_full(4, 0)
    assert not limits.are_full(3, 10**9)
