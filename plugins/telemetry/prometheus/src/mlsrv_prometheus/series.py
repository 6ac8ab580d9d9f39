"""The values of one metric with certain labels.

Recording is one append to a list: it is done for each request, and must cost next to nothing. What is in the
list is worked up when somebody scrapes, or when it is full.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from mlsrv.metrics import Recorder, RowRecorder

MOST_PENDING = 1024
"""Values of a series that are kept before they are worked up."""


class Series(ABC):
    """Takes values from any thread, and gives their outcome to any other.

    Attributes:
        labels: values of the labels, in the order of the metric's.
        pending: what may have values that were not worked up.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.pending: list[Pending] = []
        self._lock = threading.Lock()
        self._own = Pending([self])

    def recorder(self) -> Recorder:
        """What takes one value."""
        return self._own.recorder()

    def settle(self) -> None:
        """Work up what has come so far."""
        for pending in self.pending:
            pending.settle()

    def add(self, values: list[float]) -> None:
        """Work up some values."""
        with self._lock:
            self._add(values)

    @abstractmethod
    def _add(self, values: list[float]) -> None:
        """Work up some values; called by one thread at a time."""


class Pending:
    """Values of series that get theirs together: one of each, then the next of each."""

    def __init__(self, series: Sequence[Series]) -> None:
        self._series = tuple(series)
        self._most = MOST_PENDING * len(self._series)
        self._values: list[float] = []
        self._lock = threading.Lock()
        for each in self._series:
            each.pending.append(self)

    def __len__(self) -> int:
        return len(self._values)

    def recorder(self) -> Recorder:
        """What takes one value of the only series."""
        values, append, most, settle = self._values, self._values.append, self._most, self.settle

        def record(value: float) -> None:
            append(value)
            if len(values) >= most:
                settle()

        return record

    def row_recorder(self) -> RowRecorder:
        """What takes one value of each series."""
        values, extend, most, settle = self._values, self._values.extend, self._most, self.settle

        def record(row: tuple[float, ...]) -> None:
            extend(row)  # of a tuple: no other thread comes between its values
            if len(values) >= most:
                settle()

        return record

    def settle(self) -> None:
        """Work up what has come so far."""
        with self._lock:
            values = self._values[:]
            # Others may append meanwhile.
            del self._values[: len(values)]
            if values:
                for number, series in enumerate(self._series):
                    series.add(values[number :: len(self._series)])


class Scalar(Series):
    """One number.

    Attributes:
        value: of what has been worked up.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.value = 0.0


class Counter(Scalar):
    """A sum."""

    def _add(self, values: list[float]) -> None:
        self.value += sum(values)


class Gauge(Scalar):
    """The last value."""

    def _add(self, values: list[float]) -> None:
        self.value = values[-1]


class Histogram(Series):
    """How many values there were up to each bound.

    Args:
        bounds: rising, without infinity.

    Attributes:
        counts: values in each bucket, not cumulated; the last one is above all bounds.
        sum: of all values.
    """

    def __init__(self, labels: Sequence[str], bounds: Sequence[float]) -> None:
        super().__init__(labels)
        self._bounds = np.asarray(bounds, np.float64)
        self.counts = np.zeros(len(bounds) + 1, np.int64)
        self.sum = 0.0

    def _add(self, values: list[float]) -> None:
        buckets = np.searchsorted(self._bounds, values, side="left")
        self.counts += np.bincount(buckets, minlength=len(self.counts))
        self.sum += sum(values)
