"""Prometheus meter: records the metrics of a kernel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client import Metric as Samples

from mlsrv.kernel_api import KernelAPI
from mlsrv.metrics import Meter, Metric, MetricClash, ProcessReading, Reading, Recorder, RowRecorder
from mlsrv_prometheus.family import Family
from mlsrv_prometheus.process_metrics import ProcessMetrics
from mlsrv_prometheus.repeated_metrics import allow_repeated_metrics
from mlsrv_prometheus.series import SampleBuffer, Series
from mlsrv_prometheus.settings import PrometheusSettings

logger = logging.getLogger("mlsrv.metrics")

REST_PREFIX = "rest_server"
_READINGS = 10
"""Gauges that are read at a time."""
RESERVED = ("process_", "python_")
"""Prefixes of metrics about the process itself."""


class PrometheusMeter(Meter):
    """Keeps every series in memory, also those of worker processes, whose values arrive over their
    connections."""

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self._prefix = kernel.settings.of(PrometheusSettings).metrics_rest_server_prefix
        self._families: dict[str, Family] = {}
        self._owners: dict[str, str] = {}
        self._rows: dict[tuple[tuple[str, tuple[str, ...]], ...], SampleBuffer] = {}
        self._readings: dict[int, tuple[Family, Reading]] = {}
        self._processes = ProcessMetrics()
        allow_repeated_metrics()
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)
        GCCollector(registry=self._process)

    def bind(self, metric: Metric, labels: Sequence[str]) -> Recorder:
        return self._series(metric, labels).recorder()

    def bind_row(self, row: Sequence[tuple[Metric, Sequence[str]]]) -> RowRecorder:
        # A model that is loaded again has the same rows.
        key = tuple((metric.name, tuple(labels)) for metric, labels in row)
        if key not in self._rows:
            self._rows[key] = SampleBuffer([self._series(metric, labels) for metric, labels in row])
        return self._rows[key].row_recorder()

    def observe_gauge(self, metric: Metric, reading: Reading) -> Callable[[], None]:
        family = self._family(metric)
        key = id(reading)
        self._readings[key] = (family, reading)

        def end() -> None:
            self._readings.pop(key, None)

        return end

    def observe_processes(self, reading: ProcessReading) -> Callable[[], None]:
        return self._processes.add(reading)

    async def read(self) -> list[tuple[Family, list[tuple[Sequence[str], float]]]]:
        """Read the values of watched gauges; call it on the event loop that owns the objects they read.
        Other tasks run in between.

        A gauge that cannot be read is logged and left out.
        """
        await self._processes.read()
        found: dict[int, tuple[Family, list[tuple[Sequence[str], float]]]] = {}
        for number, (family, reading) in enumerate(list(self._readings.values())):
            if number % _READINGS == _READINGS - 1:
                await asyncio.sleep(0)
            _, values = found.setdefault(id(family), (family, []))
            try:
                values += reading()
            except Exception:
                logger.exception("The gauge %s cannot be read", family.sample_names[0])
        return list(found.values())

    def collect(self, read: list[tuple[Family, list[tuple[Sequence[str], float]]]]) -> Iterator[Samples]:
        """Yield all samples in the form of `prometheus_client`; may run in any thread. `read` is the result
        of `read`."""
        watched = {id(family) for family, _ in read}
        for family in list(self._families.values()):
            if id(family) not in watched:
                yield family.samples()
        for family, values in read:
            yield family.readings(values)
        yield from self._process.collect()
        yield from self._processes.samples(self._owners)

    def _series(self, metric: Metric, labels: Sequence[str]) -> Series:
        return self._family(metric).series(labels)

    def _family(self, metric: Metric) -> Family:
        family = self._families.get(metric.name)
        return self._families.setdefault(metric.name, self._made(metric)) if family is None else family

    def _made(self, metric: Metric) -> Family:
        name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        if name.startswith(RESERVED):
            raise MetricClash(
                f'The metric "{metric.name}" cannot begin with {" or ".join(RESERVED)}: '
                "those are about the process."
            )
        if name.startswith(f"{REST_PREFIX}_"):
            name = self._prefix + name.removeprefix(REST_PREFIX)
        family = Family(metric, name)
        for sample in family.sample_names:
            owner = self._owners.get(sample, metric.name)
            if owner != metric.name:
                raise MetricClash(
                    f'The metric "{metric.name}" has samples called {sample}, and so has the metric '
                    f'"{owner}"; choose another name.'
                )
        self._owners |= dict.fromkeys(family.sample_names, metric.name)
        return family


def meter_of(kernel: KernelAPI) -> PrometheusMeter | None:
    """Return the meter of a kernel, or None while it does not run."""
    meter = kernel.meters.get("prometheus")
    return meter if isinstance(meter, PrometheusMeter) else None
