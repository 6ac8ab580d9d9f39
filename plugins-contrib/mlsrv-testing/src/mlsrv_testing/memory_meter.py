"""Memory meter: keeps recorded values in memory, for assertions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from mlsrv.kernel_api import KernelAPI
from mlsrv.metrics import Meter, Metric, Reading, Recorder


class MemoryMeter(Meter):
    """Keeps sums and numbers of what is recorded, by the metric's name and the values of its labels.

    Attributes:
        sums, counts: of the recorded values.
        readings: the watched gauges by name.
    """

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self.sums: dict[tuple[str, ...], float] = {}
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.readings: dict[str, Reading] = {}

    def bind(self, metric: Metric, labels: Sequence[str]) -> Recorder:
        assert len(labels) == len(metric.labels)
        key = (metric.name, *labels)

        def record(value: float) -> None:
            self.sums[key] = self.sums.get(key, 0.0) + value
            self.counts[key] += 1

        return record

    def observe_gauge(self, metric: Metric, reading: Reading) -> Callable[[], None]:
        self.readings[metric.name] = reading

        def end() -> None:
            self.readings.pop(metric.name, None)

        return end

    def read(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the values of a watched gauge now, by their labels."""
        return {tuple(labels): value for labels, value in self.readings[name]()}
