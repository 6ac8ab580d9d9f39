"""Window: the time for which an idle model waits for more rows, from the measured cost of batches."""

from __future__ import annotations

import time
from typing import Any


class CostModel:
    """Seconds of a batch as a + b · rows, fitted online by least squares with decaying weights.

    An observation far above the prediction (a garbage collection, a cold cache) is limited to three times the
    prediction, so that a single one does not distort the fit.
    """

    decay = 0.98

    def __init__(self) -> None:
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """Add the duration of one batch."""
        if self._n > 5:
            seconds = min(seconds, 3 * self.predict(rows))
        for name, value in (
            ("_n", 1.0),
            ("_x", rows),
            ("_y", seconds),
            ("_xx", rows * rows),
            ("_xy", rows * seconds),
        ):
            setattr(self, name, getattr(self, name) * self.decay + value)

    @property
    def coefficients(self) -> tuple[float, float]:
        """(a, b) in seconds; both 0 before the first batch."""
        if not self._n:
            return 0.0, 0.0
        variance = self._n * self._xx - self._x * self._x
        # Batches of one size say nothing about the slope: all of their time counts as fixed.
        slope = (self._n * self._xy - self._x * self._y) / variance if variance > 1e-9 * self._xx else 0.0
        slope = max(0.0, slope)
        return max(0.0, (self._y - slope * self._x) / self._n), slope

    def predict(self, rows: int) -> float:
        """Return the expected duration of a batch in seconds."""
        fixed, slope = self.coefficients
        return fixed + slope * rows


class Arrivals:
    """The rate of arriving rows, as an exponential moving average."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._last: float | None = None

    def observe(self, rows: int, now: float | None = None) -> None:
        """Add an arrival of some rows."""
        now = time.monotonic() if now is None else now
        if self._last is not None:
            gap = max(now - self._last, 1e-6)
            self._rate += (rows / gap - self._rate) * min(1.0, gap / 0.25 + 0.05)
        self._last = now

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self._rate


class Window:
    """Decides for how long to wait before a batch starts.

    Waiting pays if the rows that are expected meanwhile save more fixed cost than the wait takes. It must
    leave enough of the latency objective to run the batch.

    Args:
        objective: seconds within which a request should be answered.
        max_rows: rows of a full batch.
    """

    def __init__(self, objective: float, max_rows: int) -> None:
        self.cost = CostModel()
        self.arrivals = Arrivals()
        self._objective = objective
        self._max_rows = max_rows

    def wait(self, rows: int, age: float) -> float:
        """Return the seconds to wait before a batch starts; 0 to start now.

        Args:
            rows: rows that are waiting.
            age: seconds since the oldest of them arrived.
        """
        fixed, slope = self.cost.coefficients
        rate = self.arrivals.rate
        # Within the time that one fixed cost takes, at least one more row must be expected.
        if rows >= self._max_rows or not fixed or rate * fixed < 1.0:
            return 0.0
        until_full = (self._max_rows - rows) / rate
        time_left = self._objective - age - (fixed + slope * min(self._max_rows, rows + rate * fixed))
        return max(0.0, min(fixed, until_full, time_left))

    def explain(self) -> dict[str, Any]:
        """Return the measured cost and rate as plain values."""
        fixed, slope = self.cost.coefficients
        return {"fixed_seconds": fixed, "seconds_per_row": slope, "rows_per_second": self.arrivals.rate}
