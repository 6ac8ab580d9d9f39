"""Metric sums: metrics of several processes as one, as plain data of JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

__all__ = ["Family", "MetricSums"]

Family: TypeAlias = list[Any]
"""A metric: ``[name, help, kind, samples]``, each sample ``[name, labels, value]``."""

_GROWING = frozenset(("counter", "histogram", "summary"))
_SMALLEST = frozenset(("mlsrv_model_ready", "process_start_time_seconds", "process_max_fds", "python_info"))
_CREATED = "_created"


class MetricSums:
    """Adds metrics up: counters, histograms and gauges are summed, sample by sample.

    A model is ready that is ready in every process; of times, limits and facts about Python the smallest
    counts.
    """

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str]] = {}
        self._samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}

    def add(self, families: Iterable[Family], *, ended: bool = False) -> None:
        """Add the metrics of a process.

        Args:
            families: its metrics.
            ended: whether the process has ended: then only what grows counts, so that no sum ever shrinks.
        """
        for name, text, kind, samples in families:
            if ended and kind not in _GROWING:
                continue
            self._families.setdefault(name, (text, kind))
            sums = self._samples.setdefault(name, {})
            for sample, labels, value in samples:
                self._add(sums, sample, labels, value, ended)

    def families(self) -> list[Family]:
        """Return the sums."""
        return [
            [
                name,
                text,
                kind,
                [[sample, dict(labels), value] for (sample, labels), value in self._samples[name].items()],
            ]
            for name, (text, kind) in self._families.items()
        ]

    def _add(
        self,
        sums: dict[tuple[str, tuple[tuple[str, str], ...]], float],
        sample: str,
        labels: dict[str, str],
        value: float,
        ended: bool,
    ) -> None:
        smallest = sample in _SMALLEST or sample.endswith(_CREATED)
        if ended and smallest:
            return
        key = sample, tuple(sorted(labels.items()))
        if key not in sums:
            sums[key] = value
        else:
            sums[key] = min(sums[key], value) if smallest else sums[key] + value
