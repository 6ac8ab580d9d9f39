"""Series: the values of one metric with certain labels.

Recording happens for each request and must be cheap, so it only appends to a buffer. A buffer is flushed,
which aggregates its values, at each scrape and when it is full.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from mlsrv.metrics import Recorder, RowRecorder

BUFFER_LIMIT = 1024
"""Values of one series that a buffer holds before it is flushed."""


class Series(ABC):
    """Aggregates values that are recorded in any thread; they may be read from any thread.

    Attributes:
        labels: values of the labels, in the order of the metric's.
        buffers: hold values that were not aggregated yet.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.buffers: list[SampleBuffer] = []
        self._lock = threading.Lock()
        self._own = SampleBuffer([self])

    def recorder(self) -> Recorder:
        """Return a function that records one value."""
        return self._own.recorder()

    def flush(self) -> None:
        """Aggregate the values in all buffers."""
        for buffer in self.buffers:
            buffer.flush()

    def add(self, values: list[float]) -> None:
        """Aggregate values. May be called from any thread."""
        with self._lock:
            self._aggregate(values)

    @abstractmethod
    def _aggregate(self, values: list[float]) -> None:
        """Aggregate values; called by one thread at a time."""


class SampleBuffer:
    """Values of series that are recorded together: one value of each series, then the next of each."""

    def __init__(self, series: Sequence[Series]) -> None:
        self._series = tuple(series)
        self._most = BUFFER_LIMIT * len(self._series)
        self._values: list[float] = []
        self._lock = threading.Lock()
        for each in self._series:
            each.buffers.append(self)

    def __len__(self) -> int:
        return len(self._values)

    def recorder(self) -> Recorder:
        """Return a function that records one value of the only series."""
        values, append, most, flush = self._values, self._values.append, self._most, self.flush

        def record(value: float) -> None:
            append(value)
            if len(values) >= most:
                flush()

        return record

    def row_recorder(self) -> RowRecorder:
        """Return a function that records one value of each series."""
        values, extend, most, flush = self._values, self._values.extend, self._most, self.flush

        def record(row: tuple[float, ...]) -> None:
            extend(row)  # atomic for a tuple: values of other threads cannot come in between
            if len(values) >= most:
                flush()

        return record

    def flush(self) -> None:
        """Pass the buffered values on to their series."""
        with self._lock:
            values = self._values[:]
            # Other threads may append meanwhile.
            del self._values[: len(values)]
            if values:
                for number, series in enumerate(self._series):
                    series.add(values[number :: len(self._series)])


class Scalar(Series):
    """One number.

    Attributes:
        value: the aggregate of the values that were flushed.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.value = 0.0


class Counter(Scalar):
    """A sum."""

    def _aggregate(self, values: list[float]) -> None:
        self.value += sum(values)


class Gauge(Scalar):
    """The last value."""

    def _aggregate(self, values: list[float]) -> None:
        self.value = values[-1]


class Histogram(Series):
    """Counts of values by upper bound.

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

    def _aggregate(self, values: list[float]) -> None:
        buckets = np.searchsorted(self._bounds, values, side="left")
        self.counts += np.bincount(buckets, minlength=len(self.counts))
        self.sum += sum(values)
