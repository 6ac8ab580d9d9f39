"""The values of one metric with certain labels.

Recording is one append to a list: a request records a dozen values, and they must cost next to nothing. What
is in the list is worked up when somebody scrapes, or when it is full.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from mlsrv.metrics import Recorder

MOST_PENDING = 1024
"""Values that are kept before they are worked up."""


class Series(ABC):
    """Takes values from any thread, and gives their outcome to any other.

    Attributes:
        labels: values of the labels, in the order of the metric's.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._pending: list[float] = []
        self._lock = threading.Lock()

    def recorder(self) -> Recorder:
        """What takes one value."""
        pending, append, settle = self._pending, self._pending.append, self.settle

        def record(value: float) -> None:
            append(value)
            if len(pending) >= MOST_PENDING:
                settle()

        return record

    def settle(self) -> None:
        """Work up what has come so far."""
        with self._lock:
            values = self._pending[:]
            # Others may append meanwhile.
            del self._pending[: len(values)]
            if values:
                self._add(values)

    @abstractmethod
    def _add(self, values: list[float]) -> None:
        """Work up some values; called by one thread at a time."""


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
