"""Metrics that a model makes with prometheus_client alone."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import numpy as np
import prometheus_client
import pytest

from mlsrv import ModelSettings
from mlsrv.errors import ModelLoadError
from mlsrv.testing import tensor_request
from mlsrv_prometheus.process_metrics import ProcessMetrics

CODE = """
import os, signal
import mlsrv
from mlsrv.types import InferenceResponse
from prometheus_client import Counter, Gauge, Histogram, Info, Summary

AT_IMPORT = Counter("own_{name}_imports", "Made by the module.")

class Model(mlsrv.MLModel):
    def load(self):
        self.calls = Counter("own_{name}_calls", "Calls.", ["kind"])
        self.seconds = Histogram("own_{name}_seconds", "Durations.", buckets=(1, 10, 100){more})
        self.stock = Gauge("own_{name}_stock", "What is left.")
        self.sizes = Summary("own_{name}_sizes", "Sizes.")
        Info("own_{name}", "About it.").info({{"version": "7"}})
        AT_IMPORT.inc()
        return True
    def predict(self, payload):
        value = float(payload.inputs[0].data[0])
        if value < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls.labels(kind="x").inc()
        self.seconds{labels}.observe(value)
        self.stock.set(value)
        self.sizes.observe(value)
        return InferenceResponse()
"""


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """Makes settings of a model whose metrics have this name in theirs."""

    def make(name: str, **fields: Any) -> ModelSettings:
        write(tmp_path, name)
        source = tmp_path / "model-settings.json"
        return ModelSettings(name=name, implementation=f"{name}.Model", source=source, **fields)

    yield make
    registry = prometheus_client.REGISTRY
    for collector in list(registry._collector_to_names):
        if str(getattr(collector, "_name", "")).startswith("own_"):
            registry.unregister(collector)


def write(folder: Path, name: str, more: str = "", labels: str = "") -> None:
    (folder / f"{name}.py").write_text(CODE.format(name=name, more=more, labels=labels), encoding="utf-8")


async def predict(served: Any, name: str, *values: float) -> None:
    for value in values:
        await served.kernel.infer(tensor_request(name, np.array([value])))


@pytest.mark.parametrize("workers", [0, 2])
async def test_they_are_in_the_scrape_and_count_on_after_a_reload(serve: Any, own: Any, workers: int) -> None:
    name = f"with{workers}"
    async with serve(own(name), parallel_workers=workers) as served:
        await predict(served, name, 2.0, 20.0)
        await served.kernel.load(name)
        await asyncio.gather(*(predict(served, name, 3.0) for _ in range(4)))
        await served.kernel.load(name)
        await predict(served, name, 200.0)
        found = await served.scrape()
    assert found.value(f"own_{name}_calls_total", kind="x") == 7
    assert found.value(f"own_{name}_seconds_count") == 7
    assert found.value(f"own_{name}_seconds_sum") == 234
    assert [value for _, value in found.series(f"own_{name}_seconds_bucket")] == [0, 5, 6, 7]
    assert found.value(f"own_{name}_sizes_count") == 7
    assert found.value(f"own_{name}_stock") == 200
    assert found.series(f"own_{name}_info") == [({"version": "7"}, 1.0)]
    assert found.value(f"own_{name}_imports_total") == 3 * (workers or 1)
    assert found.families[f"own_{name}_seconds"].documentation == "Durations."
    assert len(found.series("process_resident_memory_bytes")) == 1


async def test_the_counts_of_a_worker_that_ended_stay(serve: Any, own: Any) -> None:
    async with serve(own("ended"), parallel_workers=1) as served:
        await predict(served, "ended", 1.0, 2.0)
        assert (await served.scrape()).value("own_ended_calls_total") == 2
        with pytest.raises(Exception, match="SIGKILL"):
            await predict(served, "ended", -1.0)
        await predict(served, "ended", 3.0)
        found = await served.scrape()
    assert found.value("own_ended_calls_total") == 3
    assert found.value("own_ended_stock") == 3


async def test_a_metric_that_is_made_otherwise_after_a_reload_replaces_the_first(
    serve: Any, own: Any, tmp_path: Path
) -> None:
    async with serve(own("changed")) as served:
        await predict(served, "changed", 5.0)
        write(tmp_path, "changed", ', labelnames=["z"]', '.labels("a")')
        await served.kernel.load("changed")
        await predict(served, "changed", 6.0)
        found = await served.scrape()
    assert found.series("own_changed_seconds_count") == [({"z": "a"}, 1.0)]
    assert found.value("own_changed_calls_total") == 2


async def test_another_model_cannot_replace_a_metric(serve: Any, own: Any) -> None:
    async with serve(own("first")) as served:
        owner = prometheus_client.REGISTRY._names_to_collectors["own_first_stock"]
        second = own("second")
        text = (
            (second.source.parent / "second.py").read_text().replace("own_second_seconds", "own_first_stock")
        )
        (second.source.parent / "second.py").write_text(text, encoding="utf-8")
        async with serve(second) as other:
            with pytest.raises(ModelLoadError, match="Duplicated timeseries"):
                await other.kernel.load("second")
        assert prometheus_client.REGISTRY._names_to_collectors["own_first_stock"] is owner
        assert served.kernel.ready


async def test_a_metric_whose_name_is_taken_is_left_out_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = ProcessMetrics()
    found = {
        1: [
            ("taken", "counter", "One.", [("taken_total", {}, 1.0)]),
            ("free", "gauge", "", [("free", {}, 2.0)]),
        ]
    }

    async def source() -> Any:
        return found

    end = metrics.add(source)
    with caplog.at_level(logging.WARNING, "mlsrv.metrics"):
        for _ in range(2):
            await metrics.read()
            names = [one.name for one in metrics.samples({"taken_total"})]
            assert "free" in names
            assert "taken" not in names
    assert len(caplog.records) == 1
    end()
    await metrics.read()
    assert [one.name for one in metrics.samples(()) if one.name in ("free", "taken")] == ["taken"]


async def test_a_process_that_does_not_answer_keeps_its_last_values() -> None:
    metrics = ProcessMetrics()
    answers: list[Any] = [{7: [("n", "counter", "N.", [("n_total", {"a": "b"}, 4.0)])]}, {7: None}]

    async def source() -> Any:
        return answers.pop(0)

    metrics.add(source)
    for _ in range(2):
        await metrics.read()
        [found] = [one for one in metrics.samples(()) if one.name == "n"]
        assert [(one.name, one.labels, one.value) for one in found.samples] == [("n_total", {"a": "b"}, 4.0)]
