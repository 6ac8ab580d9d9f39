"""Metrics of user code: recorded with the labels of its model, in every place where it runs."""

from collections.abc import Sequence
from typing import Any

import pytest

import mlsrv
from mlsrv import Kernel, MeterOffer, MLModel, ModelSettings
from mlsrv.metrics import Meter, Metric, ModelMetrics, discard, record_all
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse


class Memory(Meter):
    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.recorded: list[tuple[Metric, float, tuple[str, ...]]] = []

    def record(self, metric: Metric, value: float, labels: Sequence[str]) -> None:
        self.recorded.append((metric, value, tuple(labels)))

    @property
    def short(self) -> list[tuple[str, float, tuple[str, ...]]]:
        return [(metric.name, value, labels) for metric, value, labels in self.recorded]


class Metered:
    """Offers meters of the given names."""

    def __init__(self, *names: str) -> None:
        self._names = names

    @mlsrv.hookimpl
    def mlsrv_meters(self) -> list[MeterOffer]:
        return [MeterOffer(name, Memory) for name in self._names]


class Loading(MLModel):
    """Registers in `load`, logs in `load`, and in a plain `predict`, which runs in a thread."""

    async def load(self) -> bool:
        mlsrv.register("rows", "Rows seen.", kind="counter")
        mlsrv.log(loads=1)
        return True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # sync
        mlsrv.log(rows=len(payload.inputs[0].data), seconds=0.5)
        return InferenceResponse()


class Streaming(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        mlsrv.log(asynchronous=1)
        return InferenceResponse()

    def predict_stream(self, payloads: Any) -> Any:
        for _ in payloads:
            mlsrv.log(streamed=1)
            yield InferenceResponse()


def kernel_of(*meters: str, name: str = "m", cls: type[MLModel] = Loading) -> Kernel:
    model = ModelSettings(name=name, implementation=cls, parameters={"version": "v1"})
    return Kernel(plugins=[Metered(*meters)], models=[model], discover=False)


def memory(kernel: Kernel, name: str = "memory") -> Memory:
    meter = kernel.meters[name]
    assert isinstance(meter, Memory)
    return meter


async def test_load_and_predict_record_with_the_models_labels() -> None:
    async with kernel_of("memory") as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("m", ["a", "b"]))
        found = memory(kernel).recorded
    labels = ("m", "v1")
    assert memory(kernel).short == [("loads", 1.0, labels), ("rows", 2.0, labels), ("seconds", 0.5, labels)]
    loads, rows, _ = [metric for metric, _, _ in found]
    assert (loads.kind, loads.description) == ("histogram", "loads")
    assert (rows.kind, rows.description, rows.labels) == (
        "counter",
        "Rows seen.",
        ("model_name", "model_version"),
    )


async def test_streams_record_too() -> None:
    async with kernel_of("memory", cls=Streaming) as kernel:
        await kernel.loaded()
        async for _ in kernel.stream(text_request("m", ["a"])):
            pass
        await kernel.infer(text_request("m", ["a"]))
        assert [name for name, _, _ in memory(kernel).short] == ["streamed", "asynchronous"]


async def test_two_kernels_keep_their_metrics_apart() -> None:
    async with kernel_of("memory") as one, kernel_of("memory", name="n") as two:
        await one.loaded()
        await two.loaded()
        await one.infer(text_request("m", ["a"]))
        assert {labels for _, _, labels in memory(one).short} == {("m", "v1")}
        assert memory(two).short == [("loads", 1.0, ("n", "v1"))]


async def test_a_model_that_calls_another_keeps_its_own_labels() -> None:
    kernel: Kernel

    class Outer(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            await kernel.infer(text_request("m", ["a"]))
            mlsrv.log(outer=1)
            return InferenceResponse()

    models = [
        ModelSettings(name="m", implementation=Loading, parameters={"version": "v1"}),
        ModelSettings(name="outer", implementation=Outer),
    ]
    async with Kernel(plugins=[Metered("memory")], models=models, discover=False) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("outer", ["a"]))
        assert memory(kernel).short[-1] == ("outer", 1.0, ("outer", ""))


async def test_several_meters_all_hear() -> None:
    async with kernel_of("first", "second") as kernel:
        await kernel.loaded()
        assert (
            memory(kernel, "first").short == memory(kernel, "second").short == [("loads", 1.0, ("m", "v1"))]
        )


def test_the_recorder_is_chosen_once() -> None:
    kernel = Kernel(discover=False)
    meter = Memory(kernel)
    assert record_all([]) is discard
    assert record_all([meter]) == meter.record
    assert kernel.record is discard


def test_outside_a_model_nothing_happens() -> None:
    assert mlsrv.register("anything") is None
    mlsrv.log(anything=1.0)


def test_a_metric_is_registered_once_and_has_a_known_kind() -> None:
    metrics = ModelMetrics("m", None, discard)
    first = metrics.register("x", "First.", kind="gauge")
    assert metrics.register("x", "Second.") is first
    with pytest.raises(ValueError, match="kind"):
        metrics.register("y", kind="summary")
