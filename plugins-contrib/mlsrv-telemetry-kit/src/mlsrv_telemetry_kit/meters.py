"""Meters: records with all meters of a kernel at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from mlsrv_telemetry_kit.metrics import (
    Meter,
    Metric,
    MetricClash,
    ProcessReading,
    Reading,
    Recorder,
    RowRecorder,
    clash,
    nothing,
)

logger = logging.getLogger("mlsrv.metrics")

_T = TypeVar("_T")


class Meters:
    """Hands out recorders that reach every meter; false when there is none.

    Args:
        meters: the backends.
    """

    def __init__(self, meters: Sequence[Meter] = ()) -> None:
        self._meters = tuple(meters)
        self._metrics: dict[str, Metric] = {}
        self._recorders: dict[tuple[str, tuple[str, ...]], Recorder] = {}

    def __bool__(self) -> bool:
        return bool(self._meters)

    def declare(self, metric: Metric) -> None:
        """Let a name stand for this metric from now on.

        Raises:
            MetricClash: it stands for another one.
        """
        known = self._metrics.setdefault(metric.name, metric)
        if known != metric:
            raise MetricClash(clash(known, metric))

    def bind(self, metric: Metric, labels: Sequence[str] = ()) -> Recorder:
        """Return the recorder of one series of a metric; to be kept, and then called for each value.

        Raises:
            MetricClash: there is another metric of this name, or a meter cannot have it.
        """
        self.declare(metric)
        return _fan_out([meter.bind(metric, labels) for meter in self._meters])

    def bind_row(self, row: Sequence[tuple[Metric, Sequence[str]]]) -> RowRecorder:
        """Return the recorder of several series at once, see `Meter.bind_row`. Raises as `bind`."""
        for metric, _ in row:
            self.declare(metric)
        return _fan_out([meter.bind_row(row) for meter in self._meters])

    def observe_gauge(self, metric: Metric, reading: Reading) -> Callable[[], None]:
        """Show a gauge that is read when the metrics are; calling the result ends that. Raises as `bind`."""
        self.declare(metric)
        ends = [meter.observe_gauge(metric, reading) for meter in self._meters]

        def end() -> None:
            for each in ends:
                each()

        return end

    def observe_processes(self, reading: ProcessReading) -> Callable[[], None]:
        """Show metrics of other processes; see `Meter.observe_processes`."""
        ends = [meter.observe_processes(reading) for meter in self._meters]

        def end() -> None:
            for each in ends:
                each()

        return end

    def record(self, metric: Metric, value: float, labels: Sequence[str] = ()) -> None:
        """Record one value of a series that may be new. Of a metric that cannot be, nothing is recorded, and
        the log says so once."""
        if not self._meters:
            return
        key = metric.name, tuple(labels)
        recorder = self._recorders.get(key)
        if recorder is None:
            try:
                recorder = self.bind(metric, labels)
            except MetricClash as error:
                logger.error("Values of %s are not recorded: %s", " ".join((metric.name, *labels)), error)
                recorder = nothing
            self._recorders[key] = recorder
        recorder(value)


def _fan_out(recorders: Sequence[Callable[[_T], None]]) -> Callable[[_T], None]:
    """Return one recorder for all of these that record."""
    recorders = [record for record in recorders if record is not nothing]
    if not recorders:
        return nothing
    if len(recorders) == 1:
        return recorders[0]

    def fan_out(value: _T) -> None:
        for record in recorders:
            record(value)

    return fan_out
