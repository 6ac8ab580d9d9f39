"""Metrics of user code: recorded with the labels of its model, in every place where it runs."""

from collections.abc import Sequence
from typing import Any

import pytest

import mlsrv
from mlsrv import Kernel, MeterOffer, MLModel, ModelSettings
from mlsrv.errors import ModelFailed, ModelLoadError
from mlsrv.metrics import MOST_METRICS, Meter, Metric, MetricClash, ModelMetrics, Recorder, discard, nothing
from mlsrv.telemetry.kernel_metrics import METRICS
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse
from mlsrv_telemetry_kit.meters import Meters

OWN = {metric.name for metric in METRICS}


class Memory(Meter):
    """Keeps what user code records."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.recorded: list[tuple[Metric, float, tuple[str, ...]]] = []

    def bind(self, metric: Metric, labels: Sequence[str]) -> Recorder:
        if metric.name in OWN:
            return nothing
        return lambda value: self.recorded.append((metric, value, tuple(labels)))

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


async def test_every_meter_records_each_value() -> None:
    async with kernel_of("first", "second") as kernel:
        await kernel.loaded()
        assert (
            memory(kernel, "first").short == memory(kernel, "second").short == [("loads", 1.0, ("m", "v1"))]
        )


def test_outside_a_model_nothing_happens() -> None:
    assert mlsrv.register("anything") is None
    mlsrv.log(anything=1.0)


def test_a_metric_is_registered_once() -> None:
    metrics = ModelMetrics("m", None, discard)
    first = metrics.register("x", "First.", kind="gauge")
    assert metrics.register("x", "Second.") is first
    assert metrics.register("x", kind="gauge") is first
    with pytest.raises(MetricClash, match='"x" is a gauge already, and cannot be a counter'):
        metrics.register("x", kind="counter")
    buckets = metrics.register("y", buckets=(1, 2))
    assert (buckets.kind, buckets.buckets) == ("histogram", (1.0, 2.0))
    with pytest.raises(MetricClash, match=r"has the buckets \[1.0, 2.0\] already"):
        metrics.register("y", buckets=(1, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "my-metric"}, "'my-metric' cannot be the name of a metric"),
        ({"name": "1st"}, "cannot be the name"),
        ({"name": ""}, "cannot be the name"),
        ({"name": "y", "kind": "summary"}, "kind"),
        ({"name": "y", "buckets": (2, 1)}, "must rise"),
    ],
)
def test_invalid_metrics_are_refused(arguments: dict[str, Any], message: str) -> None:
    metrics = ModelMetrics("m", None, discard)
    with pytest.raises(ValueError, match=message):
        metrics.register(**arguments)
    assert metrics.registered == ()


def test_invalid_values_are_refused() -> None:
    metrics = ModelMetrics("m", None, discard)
    metrics.register("x", kind="counter")
    with pytest.raises(ValueError, match="the counter x only grows, and cannot take -1"):
        metrics.log({"x": -1})
    with pytest.raises(ValueError, match="could not convert"):
        metrics.log({"x": "many"})  # type: ignore[dict-item]  # what a user may write


def test_a_model_has_a_limited_number_of_metrics() -> None:
    metrics = ModelMetrics("m", None, discard)
    for number in range(MOST_METRICS):
        metrics.log({f"m{number}": 1})
    with pytest.raises(ValueError, match="one more"):
        metrics.log({"more": 1})


class Clashing(MLModel):
    async def load(self) -> bool:
        mlsrv.register("rows", kind=self.settings.parameters.extra["kind"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        mlsrv.log(**{payload.inputs[0].data[0]: 1.0})
        return InferenceResponse()


def clashing(name: str, kind: str) -> ModelSettings:
    return ModelSettings(name=name, implementation=Clashing, parameters={"extra": {"kind": kind}})


async def test_a_model_whose_metric_clashes_with_another_models_does_not_load() -> None:
    kinds = {"a": "counter", "b": "gauge", "c": "nonsense", "d": "counter"}
    models = [clashing(name, kind) for name, kind in kinds.items()]
    settings = {"load_models_at_startup": False}
    async with Kernel(settings, plugins=[Metered("memory")], models=models, discover=False) as kernel:
        await kernel.loaded()
        await kernel.load("a")
        with pytest.raises(ModelLoadError, match='The metric "rows" is a counter already'):
            await kernel.load("b")
        with pytest.raises(ModelLoadError, match="kind"):
            await kernel.load("c")
        await kernel.load("d")
        await kernel.infer(text_request("d", ["rows"]))
        assert memory(kernel).short == [("rows", 1.0, ("d", ""))]


async def test_values_of_a_metric_that_cannot_be_are_dropped_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Kernel(
        plugins=[Metered("memory")], models=[clashing("a", "counter")], discover=False
    ) as kernel:
        await kernel.loaded()
        for _ in range(2):
            await kernel.infer(text_request("a", ["mlsrv_model_state"]))
        with pytest.raises(ModelFailed, match="'no-name' cannot be the name of a metric"):
            await kernel.infer(text_request("a", ["no-name"]))
        assert memory(kernel).short == []
    (record,) = [record for record in caplog.records if record.name == "mlsrv.metrics"]
    assert 'The metric "mlsrv_model_state" is a gauge already' in record.message


def test_without_a_meter_recording_is_an_empty_function() -> None:
    kernel = Kernel(discover=False)
    assert not kernel.metrics
    assert kernel.metrics.bind(METRICS[0], ("m", "")) is nothing


def test_one_name_is_one_metric() -> None:
    meters = Meters()
    meters.declare(Metric("x", "One.", "counter", ("a",)))
    meters.declare(Metric("x", "Said otherwise.", "counter", ("a",)))
    with pytest.raises(MetricClash, match="has the labels a already"):
        meters.bind(Metric("x", "One.", "counter", ("b",)), ("1",))
    with pytest.raises(MetricClash, match="is a counter already"):
        meters.observe_gauge(Metric("x", "One.", "gauge", ("a",)), list)


def test_a_row_reaches_every_meter_as_its_values_alone_would() -> None:
    kernel: Any = None
    one, other = Memory(kernel), Memory(kernel)
    orders, price = Metric("orders", "Orders.", "counter", ("shop",)), Metric("price", "Prices.")
    row = [(orders, ("a",)), (price, ())]
    for meters in ([one], [one, other]):
        Meters(meters).bind_row(row)((1.0, 2.5))
    assert one.short == [("orders", 1.0, ("a",)), ("price", 2.5, ())] * 2
    assert other.short == [("orders", 1.0, ("a",)), ("price", 2.5, ())]
    Meters().bind_row(row)((1.0, 2.5))
    with pytest.raises(ValueError, match="zip"):
        one.bind_row(row)((1.0,))


def test_a_row_with_another_metric_of_a_name_is_refused() -> None:
    meters = Meters()
    meters.declare(Metric("price", "Prices.", "gauge"))
    with pytest.raises(MetricClash, match="price"):
        meters.bind_row([(Metric("price", "Prices."), ())])
