"""Process metrics: what code makes with `prometheus_client` alone, of all processes together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeAlias

from prometheus_client import Metric as Samples

from mlsrv.metrics import ProcessMetric, ProcessReading
from mlsrv_telemetry_kit.default_registry import read_default_registry

logger = logging.getLogger("mlsrv.metrics")

_SUMMED = frozenset({"counter", "histogram", "summary"})
"""Kinds whose values add up over processes; of others the largest value is shown."""

_Values: TypeAlias = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class ProcessMetrics:
    """Keeps the last values of each worker process, and those of ended ones, which only count on."""

    def __init__(self) -> None:
        self._sources: dict[int, ProcessReading] = {}
        self._last: dict[int, list[ProcessMetric]] = {}
        self._ended = _Totals()
        self._told: set[str] = set()

    def add(self, source: ProcessReading) -> Callable[[], None]:
        """Read this, too, from now on; calling the result ends that."""
        key = id(source)
        self._sources[key] = source

        def end() -> None:
            self._sources.pop(key, None)

        return end

    async def read(self) -> None:
        """Ask all processes for their values."""
        sources = list(self._sources.values())
        if not sources and not self._last:
            return
        alive: set[int] = set()
        for found in await asyncio.gather(*(source() for source in sources)):
            alive.update(found)
            self._last |= {pid: metrics for pid, metrics in found.items() if metrics is not None}
        for pid in self._last.keys() - alive:
            self._ended.add(metric for metric in self._last.pop(pid) if metric[1] in _SUMMED)

    def samples(self, taken: Collection[str]) -> Iterator[Samples]:
        """Yield the metrics of all processes, this one included; may run in any thread.

        Args:
            taken: names of samples that belong to others. A metric that has one is left out, and the log says
                so once.
        """
        totals = _Totals(self._ended)
        totals.add(read_default_registry())
        for metrics in list(self._last.values()):
            totals.add(metrics)
        for metric in totals.metrics():
            clash = next((sample.name for sample in metric.samples if sample.name in taken), None)
            if clash is None:
                yield metric
            elif metric.name not in self._told:
                self._told.add(metric.name)
                logger.warning(
                    "The metric %s of prometheus_client's default registry is not shown: %s is the name of "
                    "another one",
                    metric.name,
                    clash,
                )


class _Totals:
    """Values of several processes, by metric, sample and labels."""

    def __init__(self, other: _Totals | None = None) -> None:
        self._metrics: dict[str, tuple[str, str, _Values]] = {}
        if other is not None:
            self._metrics = {
                name: (kind, text, dict(values)) for name, (kind, text, values) in other._metrics.items()
            }

    def add(self, metrics: Iterable[ProcessMetric]) -> None:
        """Add the values of one process. A metric that is of another kind elsewhere is left out."""
        for name, kind, text, samples in metrics:
            known, _, values = self._metrics.setdefault(name, (kind, text, {}))
            if known != kind:
                continue
            for sample, labels, value in samples:
                if sample.endswith("_created") and kind in _SUMMED:
                    continue
                key = sample, tuple(labels.items())
                if key not in values:
                    values[key] = value
                else:
                    values[key] = values[key] + value if kind in _SUMMED else max(values[key], value)

    def metrics(self) -> Iterator[Samples]:
        """Yield all in the form of `prometheus_client`."""
        for name, (kind, text, values) in self._metrics.items():
            made = Samples(name, text, kind)
            for (sample, labels), value in values.items():
                made.add_sample(sample, dict(labels), value)
            if values:
                yield made
