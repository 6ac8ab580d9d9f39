"""The meter keeps the contract of meters, as a scrape shows it."""

from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import mlsrv_prometheus.plugin
from mlsrv.metrics import Metric
from mlsrv_prometheus.meter import PrometheusMeter
from mlsrv_testing.contracts import MeterContract


class Scraped(Collector):
    def __init__(self, meter: PrometheusMeter) -> None:
        self._meter = meter

    def collect(self) -> Any:
        return self._meter.collect(_result(self._meter.read()))


def _result(reading: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that only lets others run in between."""
    while True:
        try:
            reading.send(None)
        except StopIteration as end:
            return end.value


class TestPrometheusMeter(MeterContract):
    meter = PrometheusMeter
    server_settings: ClassVar[dict[str, Any]] = {"metrics_endpoint": None}

    def plugins(self) -> Sequence[object]:
        return [mlsrv_prometheus.plugin]

    def value(self, meter: PrometheusMeter, metric: Metric, labels: Sequence[str]) -> float | None:
        suffix = {"counter": "_total", "gauge": "", "histogram": "_sum"}[metric.kind]
        return sample(meter, metric.name + suffix, dict(zip(metric.labels, labels, strict=True)))

    def count(self, meter: PrometheusMeter, metric: Metric, labels: Sequence[str]) -> int:
        named = dict(zip(metric.labels, labels, strict=True))
        infinite = sample(meter, f"{metric.name}_bucket", {**named, "le": "+Inf"})
        count = sample(meter, f"{metric.name}_count", named)
        assert infinite == count
        return int(count or 0)


def sample(meter: PrometheusMeter, name: str, labels: dict[str, str]) -> float | None:
    """The value of one sample in the text that Prometheus gets."""
    text = generate_latest(Scraped(meter)).decode()
    found = [
        one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if (one.name, one.labels) == (name, labels)
    ]
    assert len(found) <= 1
    return found[0] if found else None
