"""Statistics: counts and durations of each version of a model."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from mlsrv import Kernel, ModelSettings
from mlsrv.dataplane.statistics import Statistics
from mlsrv.errors import ModelFailed, ModelNotFound
from mlsrv.interceptor import Duration
from mlsrv.testing import EchoModel, FailingModel, SlowModel, text_request
from mlsrv_protocol.types import InferenceRequest, RequestInput

FIELDS = {
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
}


async def test_requests_failures_and_executions_are_counted() -> None:
    models = [
        ModelSettings(name="slow", implementation=SlowModel, parameters={"extra": {"seconds": 0.01}}),
        ModelSettings(name="failing", implementation=FailingModel),
        ModelSettings(name="idle", implementation=EchoModel, parameters={"version": "3"}),
    ]
    async with Kernel(models=models, discover=False) as kernel:
        await kernel.loaded()
        before = time.time_ns() // 1_000_000
        await asyncio.gather(*(kernel.infer(text_request("slow", ["a"])) for _ in range(4)))
        for _ in range(3):
            with pytest.raises(ModelFailed):
                await kernel.infer(text_request("failing", ["a"]))
        await kernel.load("slow")
        await kernel.infer(text_request("slow", ["a"]))

        [slow] = kernel.statistics("slow")
        assert (slow["inference_count"], slow["execution_count"]) == (5, 5)
        assert slow["last_inference"] >= before
        assert set(slow["inference_stats"]) == FIELDS
        for field in FIELDS:
            assert all(isinstance(slow["inference_stats"][field][key], int) for key in ("count", "ns"))
        assert slow["inference_stats"]["success"]["ns"] >= 5 * 10_000_000
        assert slow["inference_stats"]["compute_infer"]["count"] == 5
        assert slow["inference_stats"]["queue"]["ns"] < slow["inference_stats"]["success"]["ns"]

        [failing] = kernel.statistics("failing")
        assert failing["inference_stats"]["fail"]["count"] == 3
        assert failing["execution_count"] == 0

        [idle] = kernel.statistics("idle", "3")
        assert (idle["version"], idle["inference_count"], idle["last_inference"]) == ("3", 0, 0)
        assert {one["name"] for one in kernel.statistics()} == {"slow", "failing", "idle"}
        with pytest.raises(ModelNotFound):
            kernel.statistics("nope")


async def test_inferences_are_rows_and_executions_are_calls() -> None:
    async with Kernel(models=[ModelSettings(name="m", implementation=EchoModel)], discover=False) as kernel:
        await kernel.loaded()
        for shape in ([3, 2], [4], [0, 2], []):
            data = [0.0] * math.prod(shape)
            await kernel.infer(InferenceRequest([RequestInput("x", shape, "FP32", data)], model_name="m"))
        await kernel.infer(InferenceRequest([], model_name="m"))
        [found] = kernel.statistics("m")
        assert (found["inference_count"], found["execution_count"]) == (3 + 4 + 1 + 1 + 1, 5)
        assert found["inference_stats"]["success"]["count"] == 5
        assert found["inference_stats"]["queue"]["count"] == 5


async def test_rows_of_requests_that_fail_are_not_counted() -> None:
    models = [ModelSettings(name="m", implementation=FailingModel)]
    async with Kernel(models=models, discover=False) as kernel:
        await kernel.loaded()
        with pytest.raises(ModelFailed):
            await kernel.infer(text_request("m", ["a", "b"]))
        assert kernel.statistics("m")[0]["inference_count"] == 0


def test_counts_of_interceptors_are_shown() -> None:
    statistics = Statistics()
    statistics.answered(1)
    plain = statistics.to_plain("m", None, {"cache_hit": Duration(1, 500), "cache_miss": Duration(2)})
    assert plain["version"] == "1"
    assert plain["inference_stats"]["cache_hit"] == {"count": 1, "ns": 500}
    assert plain["inference_stats"]["cache_miss"] == {"count": 2, "ns": 0}
