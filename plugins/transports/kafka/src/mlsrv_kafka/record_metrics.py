"""Record metrics: counts what becomes of records, and shows the state of partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

from mlsrv.kernel_api import Metrics
from mlsrv.metrics import Metric, Recorder, RowRecorder
from mlsrv_kafka.metrics import CONNECTED, FAILURES, IN_FLIGHT, LAG, OLDEST, RECORD_SECONDS, RECORDS, RETRIES
from mlsrv_kafka.partition import Partition, Record


class RecordMetrics:
    """Records the metrics of records. Costs next to nothing while the kernel has no meters."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._recorders: dict[tuple[str, ...], Recorder] = {}
        self._answered: dict[str, RowRecorder] = {}

    def answered(self, record: Record) -> None:
        """A record has its answer."""
        topic = record.partition.topic
        row = self._answered.get(topic)
        if row is None:
            series = [(RECORDS, (topic, "answered")), (RECORD_SECONDS, (topic,))]
            row = self._answered[topic] = self._metrics.bind_row(series)
        row((1.0, monotonic() - record.taken))

    def failed(self, record: Record, code: str, skipped: bool) -> None:
        """A record could not be answered; it was sent to the error topic, or skipped."""
        if self._metrics:
            topic = record.partition.topic
            self._bound(RECORDS, topic, "skipped" if skipped else "failed")(1.0)
            self._bound(FAILURES, topic, code)(1.0)

    def retried(self, record: Record, code: str) -> None:
        """A record is tried once more."""
        if self._metrics:
            self._bound(RETRIES, record.partition.topic, code)(1.0)

    def _bound(self, metric: Metric, *labels: str) -> Recorder:
        key = (metric.name, *labels)
        recorder = self._recorders.get(key)
        if recorder is None:
            recorder = self._recorders[key] = self._metrics.bind(metric, labels)
        return recorder


def show_partitions(
    metrics: Metrics, partitions: Mapping[tuple[str, int], Partition], connected: Callable[[], bool]
) -> list[Callable[[], None]]:
    """Show gauges of the partitions that are read; calling each result ends that."""

    def reading(
        value: Callable[[Partition], float | None],
    ) -> Callable[[], Iterable[tuple[Sequence[str], float]]]:
        def read() -> Iterable[tuple[Sequence[str], float]]:
            for (topic, number), partition in list(partitions.items()):
                found = value(partition)
                if found is not None:
                    yield (topic, str(number)), found

        return read

    return [
        metrics.observe_gauge(LAG, reading(lambda partition: partition.lag)),
        metrics.observe_gauge(IN_FLIGHT, reading(lambda partition: partition.in_flight)),
        metrics.observe_gauge(OLDEST, reading(age_of)),
        metrics.observe_gauge(CONNECTED, lambda: [((), float(connected()))]),
    ]


def age_of(partition: Partition) -> float:
    """Return the seconds since the oldest record was read that is not done with; 0 without one."""
    oldest = partition.oldest
    return 0.0 if oldest is None else monotonic() - oldest
