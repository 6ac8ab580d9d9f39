"""Metrics, as user code and plugins see them; backends are plugins (see the hook ``mlsrv_meters``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from attrs import field, frozen
from attrs.validators import in_

if TYPE_CHECKING:
    from mlsrv.kernel import Kernel

MetricKind: TypeAlias = Literal["counter", "gauge", "histogram"]


@frozen
class Metric:
    """One metric.

    Attributes:
        name: as the backend shows it.
        description: one line of help.
        kind: a counter only grows, a gauge is set, a histogram collects observations.
        labels: names of its labels, in order.
        buckets: upper bounds of a histogram's buckets; the backend's default when empty.
    """

    name: str
    description: str
    kind: MetricKind = field(default="histogram", validator=in_(get_args(MetricKind)))
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Meter(ABC):
    """A backend. `record` is called on hot paths: it must neither block nor raise."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @abstractmethod
    def record(self, metric: Metric, value: float, labels: Sequence[str]) -> None:
        """Add to a counter, set a gauge, or observe in a histogram; `labels` are in the order of the
        metric's."""


Record: TypeAlias = Callable[[Metric, float, Sequence[str]], None]


def discard(metric: Metric, value: float, labels: Sequence[str]) -> None:
    """The recorder of a kernel without meters."""


def record_all(meters: Sequence[Meter]) -> Record:
    """One recorder for several meters, chosen once."""
    if not meters:
        return discard
    if len(meters) == 1:
        return meters[0].record
    records = [meter.record for meter in meters]

    def fan_out(metric: Metric, value: float, labels: Sequence[str]) -> None:
        for record in records:
            record(metric, value, labels)

    return fan_out


_MODEL_LABELS = ("model_name", "model_version")


class ModelMetrics:
    """The metrics that one model's user code registers and logs; labelled with the model's name and
    version."""

    def __init__(self, name: str, version: str | None, record: Record) -> None:
        self.name = name
        self.version = version
        self._labels = (name, version or "")
        self._record = record
        self._metrics: dict[str, Metric] = {}

    def register(self, name: str, description: str = "", **options: object) -> Metric:
        known = self._metrics.get(name)
        if known is None:
            known = Metric(name, description or name, labels=_MODEL_LABELS, **options)  # type: ignore[arg-type]  # checked by attrs
            self._metrics[name] = known
        return known

    def log(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._record(self.register(name), float(value), self._labels)


current_metrics: ContextVar[ModelMetrics | None] = ContextVar("mlsrv_metrics", default=None)
"""The metrics of the model whose code is running; the model's host sets it."""


def register(
    name: str, description: str = "", *, kind: MetricKind = "histogram", buckets: Sequence[float] = ()
) -> Metric | None:
    """Declare a metric of the model that is running; called from `MLModel.load` or `MLModel.predict`.

    Returns the metric (the existing one if the name is known), or None outside a model.

    Raises:
        ValueError: there is no such kind.
    """
    current = current_metrics.get()
    return current.register(name, description, kind=kind, buckets=tuple(buckets)) if current else None


def log(**values: float) -> None:
    """Record values of metrics of the model that is running. Unknown names become histograms; outside a model
    nothing happens, so that model code can be tried without a server."""
    current = current_metrics.get()
    if current:
        current.log(values)
