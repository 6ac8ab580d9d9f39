"""Gauges: what the kernel and the plugins measure now, such as workers and queues, for the page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from mlsrv.kernel_api import KernelAPI
from mlsrv.metrics import Meter, Metric, Reading, Recorder, RowRecorder, nothing

logger = logging.getLogger("mlsrv.console")

NAME = "console"


class GaugeMeter(Meter):
    """Keeps the gauges, which are read when the page asks, and records no values: no request costs more."""

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self._readings: dict[int, tuple[Metric, Reading]] = {}

    def bind(self, metric: Metric, labels: Sequence[str]) -> Recorder:
        return nothing

    def bind_row(self, row: Sequence[tuple[Metric, Sequence[str]]]) -> RowRecorder:
        return nothing

    def observe_gauge(self, metric: Metric, reading: Reading) -> Callable[[], None]:
        key = id(reading)
        self._readings[key] = metric, reading

        def end() -> None:
            self._readings.pop(key, None)

        return end

    def read(self) -> list[dict[str, Any]]:
        """Return each gauge now: its name, its labels by name, its value. To be called on the event loop.

        A gauge that cannot be read is logged and left out.
        """
        found: list[dict[str, Any]] = []
        for metric, reading in list(self._readings.values()):
            try:
                values = [
                    (dict(zip(metric.labels, labels, strict=True)), value) for labels, value in reading()
                ]
            except Exception:  # it is code of a plugin
                logger.exception("The gauge %s cannot be read", metric.name)
                continue
            found += [{"name": metric.name, "labels": labels, "value": value} for labels, value in values]
        return found


def read_gauges(kernel: KernelAPI) -> list[dict[str, Any]]:
    """Return the gauges of a kernel now, none while it does not run; see `GaugeMeter.read`."""
    meter = kernel.meters.get(NAME)
    return meter.read() if isinstance(meter, GaugeMeter) else []
