"""Metrics: the API for user code and plugins; backends are plugins (hook ``mlsrv_meters``)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

from attrs import Attribute, evolve, field, frozen
from attrs.validators import in_

__all__ = [
    "BYTES",
    "COUNTS",
    "MOST_METRICS",
    "Meter",
    "Metric",
    "MetricClash",
    "MetricKind",
    "ModelMetrics",
    "ProcessMetric",
    "ProcessReading",
    "Reading",
    "Record",
    "Recorder",
    "RowRecorder",
    "SECONDS",
    "clash",
    "current_metrics",
    "discard",
    "log",
    "nothing",
    "register",
]

MetricKind: TypeAlias = Literal["counter", "gauge", "histogram"]

Recorder: TypeAlias = Callable[[float], None]
"""Adds to a counter, sets a gauge, or observes in a histogram: one series of one metric. It may be called
from any thread, and neither blocks nor raises."""

RowRecorder: TypeAlias = Callable[[tuple[float, ...]], None]
"""The same for several series: takes one value of each, in their order."""

Reading: TypeAlias = Callable[[], Iterable[tuple[Sequence[str], float]]]
"""Gives the values of a gauge now, each with the values of its labels."""

ProcessMetric: TypeAlias = tuple[str, str, str, list[tuple[str, dict[str, str], float]]]
"""A metric that code made with `prometheus_client` alone: its name, kind and description, and its samples,
each with its name, labels and value."""

ProcessReading: TypeAlias = Callable[[], Awaitable[Mapping[int, "list[ProcessMetric] | None"]]]
"""Gives the metrics of processes that host models, by a number of each; None for one that does not answer
now."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets for durations."""

BYTES = tuple(float(4**power) for power in range(3, 16))
"""Buckets for sizes: 64 bytes to 1 GiB."""

COUNTS = tuple(float(2**power) for power in range(13))
"""Buckets for numbers of requests and rows."""

MOST_METRICS = 1000
"""Metrics that the code of one model may have."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class MetricClash(ValueError):
    """Two metrics have the same name and are not the same, or a backend cannot take one."""


def _check_name(_metric: Metric, _attribute: Attribute[str], value: object) -> None:
    if not (isinstance(value, str) and _NAME.fullmatch(value)):
        raise ValueError(
            f"{str(value)[:60]!r} cannot be the name of a metric: letters, digits and _ can, no digit first"
        )


def _floats(given: Iterable[float]) -> tuple[float, ...]:
    return tuple(map(float, given))


def _check_buckets(_metric: Metric, _attribute: Attribute[Any], value: tuple[float, ...]) -> None:
    if any(after <= before for before, after in pairwise(value)):
        raise ValueError(f"the buckets of a metric must rise, and do not: {value}")


@frozen
class Metric:
    """One metric: its name, kind, labels and buckets.

    Attributes:
        name: as the backend shows it; a backend may add a suffix of its conventions (``_total``).
        description: one line of help.
        kind: a counter only grows, a gauge is set, a histogram collects observations.
        labels: names of its labels, in order.
        buckets: upper bounds of a histogram's buckets, rising; the backend's default when empty.
    """

    name: str = field(validator=_check_name)
    description: str = field(eq=False)
    kind: MetricKind = field(default="histogram", validator=in_(get_args(MetricKind)))
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = field(default=(), converter=_floats, validator=_check_buckets)


class Meter(ABC):
    """A backend of metrics. One is made for each boot of a kernel.

    Args:
        kernel: the `mlsrv.kernel_api.KernelAPI` that boots; subclasses may read their settings from it.
    """

    def __init__(self, kernel: object) -> None:
        return None

    @abstractmethod
    def bind(self, metric: Metric, labels: Sequence[str]) -> Recorder:
        """Return the recorder of one series.

        It is asked for once, when a model is loaded or when the series first occurs; `labels` are in the
        order of the metric's.

        Raises:
            MetricClash: the backend cannot have this metric.
        """

    def bind_row(self, row: Sequence[tuple[Metric, Sequence[str]]]) -> RowRecorder:
        """Return the recorder of several series (metrics with their labels) that get their values together.

        The values of a request then cost one call. Unless overridden, each is recorded on its own. Raises as
        `bind`.
        """
        recorders = [self.bind(metric, labels) for metric, labels in row]

        def record(values: tuple[float, ...]) -> None:
            for recorder, value in zip(recorders, values, strict=True):
                recorder(value)

        return record

    def observe_gauge(self, metric: Metric, reading: Reading) -> Callable[[], None]:
        """Export a gauge whose values are read when the backend exports, on the event loop.

        Calling the result ends that. A backend that is only sent values exports none.
        """
        return _nothing_to_end

    def observe_processes(self, reading: ProcessReading) -> Callable[[], None]:
        """Export the metrics that code in other processes makes with `prometheus_client` alone.

        They are read when the backend exports, on the event loop. Calling the result ends that. A backend of
        another kind exports none.
        """
        return _nothing_to_end


def nothing(value: object) -> None:
    """Record nothing: the recorder of a kernel without meters."""


def _nothing_to_end() -> None:
    return None


Record: TypeAlias = Callable[[Metric, float, Sequence[str]], None]
"""Records a value, logged by user code, of a metric that was not bound before."""


def discard(metric: Metric, value: float, labels: Sequence[str]) -> None:
    """Record nothing: takes the values that user code logs where there is no meter."""


_MODEL_LABELS = ("model_name", "model_version")


class ModelMetrics:
    """Metrics that the user code of one model registers and logs, labelled with its name and version."""

    def __init__(self, name: str, version: str | None, record: Record) -> None:
        self.name = name
        self.version = version
        self._labels = (name, version or "")
        self._record = record
        self._metrics: dict[str, Metric] = {}

    @property
    def registered(self) -> tuple[Metric, ...]:
        """The metrics that are registered so far."""
        return tuple(self._metrics.values())

    def register(
        self,
        name: str,
        description: str = "",
        kind: MetricKind | None = None,
        buckets: Sequence[float] | None = None,
    ) -> Metric:
        known = self._metrics.get(name)
        if known is None:
            if len(self._metrics) >= MOST_METRICS:
                raise ValueError(f"a model can have {MOST_METRICS} metrics, and {name[:60]!r} is one more")
            known = Metric(name, description or name, kind or "histogram", _MODEL_LABELS, buckets or ())
            self._metrics[name] = known
            return known
        wanted = evolve(known, kind=kind or known.kind, buckets=known.buckets if buckets is None else buckets)
        if wanted != known:
            raise MetricClash(clash(known, wanted))
        return known

    def log(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            metric = self._metrics.get(name) or self.register(name)
            number = float(value)
            if metric.kind == "counter" and number < 0:
                raise ValueError(f"the counter {name} only grows, and cannot take {number:g}")
            self._record(metric, number, self._labels)


def clash(known: Metric, other: Metric) -> str:
    """Return one sentence on the difference between two metrics of one name."""
    if known.kind != other.kind:
        difference = f"is a {known.kind} already, and cannot be a {other.kind}, too"
    elif known.labels != other.labels:
        difference = f"has the labels {', '.join(known.labels) or 'none'} already, which cannot change"
    else:
        difference = f"has the buckets {list(known.buckets) or 'by default'} already, which cannot change"
    return f'The metric "{known.name}" {difference}; choose another name.'


current_metrics: ContextVar[ModelMetrics | None] = ContextVar("mlsrv_metrics", default=None)
"""The metrics of the model whose code is running; the model's host sets it."""


def register(
    name: str,
    description: str = "",
    *,
    kind: MetricKind | None = None,
    buckets: Sequence[float] | None = None,
) -> Metric | None:
    """Declare a metric of the model that is running; called from `MLModel.load` or `MLModel.predict`.

    Args:
        name: letters, digits and ``_``.
        description: one line of help; that of the first call counts.
        kind: ``"histogram"`` if not given.
        buckets: upper bounds for a histogram, rising; the backend's default if not given.

    Returns the metric (the existing one if the name is known), or None outside a model.

    Raises:
        ValueError: the name or the kind is invalid.
        MetricClash: the name is known with another kind or other buckets. (Another model's metric of this
            name that differs makes the load fail.)
    """
    current = current_metrics.get()
    return current.register(name, description, kind, buckets) if current else None


def log(**values: float) -> None:
    """Record values of metrics of the model that is running.

    Unknown names become histograms. Outside a model nothing happens, so that model code can be tried without
    a server.

    Raises:
        ValueError: a name is invalid, a value is not a number, or a counter would shrink.
    """
    current = current_metrics.get()
    if current:
        current.log(values)
