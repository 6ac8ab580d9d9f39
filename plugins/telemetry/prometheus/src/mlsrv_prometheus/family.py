"""Metric family: one metric with all its series, under Prometheus' names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import Metric as Samples
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from mlsrv.metrics import Metric
from mlsrv_prometheus.series import Counter, Gauge, Histogram, Scalar, Series

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Default buckets of Prometheus' own clients."""

_SUFFIXES = {
    "counter": ("_total", "", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_sum", "_count", "_created"),
}


class Family:
    """The series of one metric.

    Args:
        metric: as it was declared.
        name: as it is shown; without ``_total``, which counters get.
    """

    def __init__(self, metric: Metric, name: str) -> None:
        self._metric = metric
        self._name = name
        self._bounds = metric.buckets or DEFAULT_BUCKETS
        self._edges = [*map(floatToGoString, self._bounds), "+Inf"]
        self._series: dict[tuple[str, ...], Series] = {}

    @property
    def sample_names(self) -> tuple[str, ...]:
        """Every name that its samples may have."""
        return tuple(self._name + suffix for suffix in _SUFFIXES[self._metric.kind])

    def series(self, labels: Sequence[str]) -> Series:
        """Return the series with these labels."""
        found = self._series.get(tuple(labels))
        return self._series.setdefault(tuple(labels), self._new(labels)) if found is None else found

    def samples(self) -> Samples:
        """Return the present values; may be called from any thread."""
        metric = self._metric
        series = list(self._series.values())
        for each in series:
            each.flush()
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(self._name, metric.description, labels=metric.labels)
            for each in series:
                assert isinstance(each, Histogram)
                cumulated = each.counts.cumsum().tolist()
                histogram.add_metric(each.labels, list(zip(self._edges, cumulated, strict=True)), each.sum)
                if self._bounds[0] < 0:  # then there is no sum, which could shrink; but there is a count
                    labels = dict(zip(metric.labels, each.labels, strict=True))
                    histogram.add_sample(f"{self._name}_count", labels, cumulated[-1])
            return histogram
        made: CounterMetricFamily | GaugeMetricFamily
        if metric.kind == "counter":
            made = CounterMetricFamily(self._name, metric.description, labels=metric.labels)
        else:
            made = GaugeMetricFamily(self._name, metric.description, labels=metric.labels)
        for each in series:
            assert isinstance(each, Scalar)
            made.add_metric(each.labels, each.value)
        return made

    def readings(self, values: Iterable[tuple[Sequence[str], float]]) -> Samples:
        """Return a gauge with values that were read."""
        made = GaugeMetricFamily(self._name, self._metric.description, labels=self._metric.labels)
        for labels, value in values:
            made.add_metric(labels, value)
        return made

    def _new(self, labels: Sequence[str]) -> Series:
        if self._metric.kind == "histogram":
            return Histogram(labels, self._bounds)
        return Counter(labels) if self._metric.kind == "counter" else Gauge(labels)
