"""Plain families: metrics as plain data, in which processes of one server send them to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import Metric as Samples
from prometheus_client.registry import Collector

from mlsrv_transport_kit.metric_sums import Family


def plain_families(metrics: Collector) -> list[Family]:
    """Return the metrics of a collector; it may run in any thread."""
    return [
        [
            family.name,
            family.documentation,
            family.type,
            [[sample.name, sample.labels, sample.value] for sample in family.samples],
        ]
        for family in metrics.collect()
    ]


class SummedMetrics(Collector):
    """A collector of plain families."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Samples]:
        for name, text, kind, samples in self._families:
            family = Samples(name, text, kind)
            for sample, labels, value in samples:
                family.add_sample(sample, labels, value)
            yield family
