"""Cache: requests to real models in a kernel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

import mlsrv_cache.plugin
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.errors import ModelFailed
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput
from mlsrv_cache.cache import ResponseCache


class Counting(MLModel):
    """Answers with its number of earlier calls; `fail` fails. Holds calls while the gate is closed."""

    calls: int
    gate: asyncio.Event

    async def load(self) -> bool:
        type(self).calls, type(self).gate = 0, asyncio.Event()
        self.gate.set()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        number, type(self).calls = self.calls, self.calls + 1
        await self.gate.wait()
        if "fail" in payload.inputs[0].data:
            raise ValueError("as asked")
        output = ResponseOutput("n", [1], "INT64", np.array([number]), Parameters(content_type="np"))
        return InferenceResponse(outputs=[output], parameters=Parameters(headers={"x": "y"}))


class Named(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(outputs=[ResponseOutput("who", [1], "BYTES", [self.name])])


@asynccontextmanager
async def cached(*models: ModelSettings, **settings: Any) -> AsyncIterator[Kernel]:
    chosen = models or (ModelSettings(name="m", implementation=Counting, cache_enabled=True),)
    values = {"cache_enabled": True, **settings}
    async with Kernel(values, models=chosen, plugins=[mlsrv_cache.plugin], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
        yield kernel


async def number(kernel: Kernel, text: str, **fields: Any) -> int:
    response = await kernel.infer(text_request("m", [text], **fields))
    return int(response.outputs[0].data[0])


def cache_of(kernel: Kernel, name: str = "m") -> ResponseCache:
    [found] = [i for i in kernel.handle(name).loaded().interceptors if isinstance(i, ResponseCache)]
    return found


async def test_equal_requests_run_once_and_keep_their_ids() -> None:
    async with cached() as kernel:
        first = await kernel.infer(text_request("m", ["a"], id="1"))
        second = await kernel.infer(text_request("m", ["a"], id="2"))
        assert (first.id, second.id) == ("1", "2")
        assert Counting.calls == 1
        assert second.parameters == Parameters(headers={"x": "y"})
        assert second.outputs[0].parameters == Parameters(content_type="np")
        assert await number(kernel, "b") == 1
        [statistics] = kernel.statistics("m")
        assert statistics["inference_stats"]["cache_hit"]["count"] == 1
        assert statistics["inference_stats"]["cache_miss"]["count"] == 2
        assert (statistics["inference_count"], statistics["execution_count"]) == (3, 2)


async def test_changes_to_a_response_do_not_reach_the_cache() -> None:
    async with cached() as kernel:
        for _ in range(3):
            response = await kernel.infer(text_request("m", ["a"]))
            assert response.outputs[0].data.tolist() == [0]
            assert response.parameters is not None
            assert response.parameters.headers == {"x": "y"}
            response.parameters.headers["x"] = "changed"
            response.outputs.clear()


async def test_models_do_not_share_answers() -> None:
    models = [ModelSettings(name=name, implementation=Named, cache_enabled=True) for name in ("a", "b")]
    async with cached(*models) as kernel:
        for name in ("a", "b", "a", "b"):
            assert (await kernel.infer(text_request(name, ["same"]))).outputs[0].data == [name]


async def test_versions_do_not_share_answers() -> None:
    models = [
        ModelSettings(name="m", implementation=Counting, cache_enabled=True, parameters={"version": version})
        for version in ("1", "2")
    ]
    async with cached(*models) as kernel:
        for version in ("1", "2"):
            request = text_request("m", ["same"])
            request.model_version = version
            assert (await kernel.infer(request)).model_version == version
        assert Counting.calls == 2


async def test_a_reload_starts_empty() -> None:
    async with cached() as kernel:
        assert [await number(kernel, "a") for _ in range(2)] == [0, 0]
        await number(kernel, "b")
        await kernel.load("m")
        assert len(cache_of(kernel)) == 0
        assert Counting.calls == 0
        assert await number(kernel, "b") == 0


async def test_concurrent_equal_requests_run_once() -> None:
    async with cached() as kernel:
        Counting.gate.clear()
        tasks = [asyncio.create_task(number(kernel, "a")) for _ in range(10)]
        await asyncio.sleep(0)
        Counting.gate.set()
        assert await asyncio.gather(*tasks) == [0] * 10
        assert Counting.calls == 1


async def test_if_the_first_request_is_cancelled_another_one_runs() -> None:
    async with cached() as kernel:
        Counting.gate.clear()
        first = asyncio.create_task(number(kernel, "a"))
        await asyncio.sleep(0)
        others = [asyncio.create_task(number(kernel, "a")) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        Counting.gate.set()
        assert await asyncio.gather(*others) == [1] * 3
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_cancelling_a_waiting_request_does_not_affect_the_first() -> None:
    async with cached() as kernel:
        Counting.gate.clear()
        first = asyncio.create_task(number(kernel, "a"))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(number(kernel, "a"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        Counting.gate.set()
        assert await first == 0


async def test_failures_are_not_cached() -> None:
    async with cached() as kernel:
        for _ in range(2):
            with pytest.raises(ModelFailed):
                await number(kernel, "fail")
        assert Counting.calls == 2
        assert len(cache_of(kernel)) == 0


async def test_the_least_recently_used_responses_are_evicted_first() -> None:
    async with cached(cache_size=2) as kernel:
        for text in ("a", "b", "a", "c"):
            await number(kernel, text)
        assert len(cache_of(kernel)) == 2
        assert await number(kernel, "a") == 0
        assert await number(kernel, "b") == 3


async def test_the_size_in_bytes_is_bounded() -> None:
    async with cached(cache_max_bytes=500) as kernel:
        for text in "abcdef":
            await number(kernel, text)
        cache = cache_of(kernel)
        assert cache.stored_bytes <= 500
        assert 0 < len(cache) < 6


@pytest.mark.parametrize(("server", "model"), [(False, True), (True, False)])
async def test_the_server_and_the_model_must_enable_the_cache(server: bool, model: bool) -> None:
    settings = ModelSettings(name="m", implementation=Counting, cache_enabled=model)
    async with cached(settings, cache_enabled=server) as kernel:
        assert [await number(kernel, "a") for _ in range(2)] == [0, 1]
