"""Metrics of the kernel: requests, phases, sizes, refusals and states of models."""

import asyncio
from collections.abc import Callable

import pytest

from mlsrv import Kernel, MeterOffer, MLModel, ModelSettings
from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, MLSrvError
from mlsrv.telemetry.kernel_metrics import METRICS
from mlsrv.testing import (
    EchoModel,
    MemoryMeter,
    Offering,
    ScriptedModel,
    SlowModel,
    tensor_request,
    text_request,
)
from mlsrv.types import InferenceRequest, InferenceResponse

METERED = Offering(MeterOffer("memory", MemoryMeter), name="memory")


class Refusing(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise InferenceError("no")


def kernel_of(*models: ModelSettings, **settings: object) -> tuple[Kernel, Callable[[], MemoryMeter]]:
    kernel = Kernel(settings, plugins=[METERED], models=models, discover=False)

    def memory() -> MemoryMeter:
        found = kernel.meters["memory"]
        assert isinstance(found, MemoryMeter)
        return found

    return kernel, memory


async def test_successes_failures_durations_and_sizes() -> None:
    versioned = ModelSettings(name="echo", implementation=EchoModel, parameters={"version": "v2"})
    kernel, memory = kernel_of(versioned, ModelSettings(name="fails", implementation=Refusing))
    async with kernel:
        await kernel.loaded()
        for _ in range(3):
            await kernel.infer(tensor_request("echo", [1.0, 2.0]))
        for _ in range(2):
            with pytest.raises(InferenceError):
                await kernel.infer(text_request("fails", ["ab", "c"]))
        found = memory()
    assert found.sums["model_infer_request_success", "echo", "v2"] == 3, "its version, whatever was asked for"
    assert found.sums["model_infer_request_failure", "fails", ""] == 2
    assert found.counts["model_infer_request_duration", "echo", "v2"] == 3
    assert found.counts["model_infer_request_duration", "fails", ""] == 2
    assert found.counts["mlsrv_phase_seconds", "echo", "v2", "predict"] == 3
    assert found.sums["mlsrv_request_payload_bytes", "echo", "v2"] == 3 * 16
    assert found.sums["mlsrv_response_payload_bytes", "echo", "v2"] == 3 * 16
    assert found.sums["mlsrv_request_payload_bytes", "fails", ""] == 2 * (3 + 2 * 8)
    assert found.sums["mlsrv_requests_rejected", "fails", "", "invalid_argument"] == 2


async def test_streams_count_once() -> None:
    kernel, memory = kernel_of(ModelSettings(name="m", implementation=ScriptedModel))
    async with kernel:
        await kernel.loaded()
        async for _ in kernel.stream(text_request("m", ["count"])):
            pass
        endless = kernel.stream(text_request("m", ["endless"]))
        await anext(endless)
        await endless.aclose()  # type: ignore[attr-defined]  # an async generator
        with pytest.raises(MLSrvError):
            async for _ in kernel.stream(text_request("m", ["break"])):
                pass
        found = memory()
    assert found.sums["model_infer_request_success", "m", ""] == 2
    assert found.sums["model_infer_request_failure", "m", ""] == 1
    assert found.sums["mlsrv_requests_rejected", "m", "", "internal"] == 1
    assert found.counts["mlsrv_response_payload_bytes", "m", ""] == 5 + 1 + 2


async def test_every_reason_of_a_rejection() -> None:
    slow = ModelSettings(
        name="slow", implementation=SlowModel, max_in_flight=1, parameters={"extra": {"seconds": 30}}
    )
    broken = ModelSettings(name="broken", implementation="no_such_module.Model")
    kernel, memory = kernel_of(slow, broken)
    async with kernel:
        await kernel.loaded()
        running = asyncio.create_task(kernel.infer(tensor_request("slow", [1.0])))
        while not kernel.handle("slow").loaded().in_flight:
            await asyncio.sleep(0)
        assert memory().read("mlsrv_requests_in_flight") == {("slow", ""): 1.0}
        for name in ("slow", "broken", "unknown-1", "unknown-2"):
            with pytest.raises(MLSrvError):
                await kernel.infer(tensor_request(name, [1.0]))
        running.cancel()
        await asyncio.wait({running})
        with pytest.raises(MLSrvError):
            await kernel.infer(tensor_request("slow", [1.0]), CallContext.with_timeout(0.01))
        found = memory()
        states, ready = found.read("mlsrv_model_state"), found.read("mlsrv_model_ready")
    rejected = {labels[1:]: count for labels, count in found.sums.items() if "rejected" in labels[0]}
    assert rejected == {
        ("slow", "", "model_requests"): 1,
        ("slow", "", "cancelled"): 1,
        ("slow", "", "deadline_exceeded"): 1,
        ("broken", "", "not_ready"): 1,
        ("", "", "not_found"): 2,
    }
    assert found.sums["model_infer_request_failure", "slow", ""] == 3
    assert ready == {("slow", ""): 1, ("broken", ""): 0}
    assert states["slow", "", "READY"] == 1
    assert states["broken", "", "UNAVAILABLE"] == 1
    assert states["broken", "", "READY"] == 0
    assert not any("unknown" in label for labels in found.sums for label in labels)


def test_the_table_has_each_name_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names)) >= 10
    assert all(metric.description.endswith(".") for metric in METRICS)
