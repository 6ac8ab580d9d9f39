"""How long an idle model should wait for more rows, from what batches have cost so far."""

from __future__ import annotations

import time
from typing import Any


class CostModel:
    """Seconds of a batch as a + b · rows, fitted online by least squares whose weights fade.

    An observation far above the prediction (a garbage collection, a cold cache) counts as three times the
    prediction at most, so that one of them does not bend the line.
    """

    fading = 0.98

    def __init__(self) -> None:
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """One batch was run."""
        if self._n > 5:
            seconds = min(seconds, 3 * self.predict(rows))
        for name, value in (
            ("_n", 1.0),
            ("_x", rows),
            ("_y", seconds),
            ("_xx", rows * rows),
            ("_xy", rows * seconds),
        ):
            setattr(self, name, getattr(self, name) * self.fading + value)

    @property
    def coefficients(self) -> tuple[float, float]:
        """(a, b) in seconds; both 0 before the first batch."""
        if not self._n:
            return 0.0, 0.0
        spread = self._n * self._xx - self._x * self._x
        # Batches of one size say nothing about the slope: all of their time counts as fixed.
        slope = (self._n * self._xy - self._x * self._y) / spread if spread > 1e-9 * self._xx else 0.0
        slope = max(0.0, slope)
        return max(0.0, (self._y - slope * self._x) / self._n), slope

    def predict(self, rows: int) -> float:
        """Seconds that a batch will take."""
        fixed, slope = self.coefficients
        return fixed + slope * rows


class Arrivals:
    """Rows per second that have lately come in beside others."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._last: float | None = None

    def observe(self, rows: int, now: float | None = None) -> None:
        """Some rows came in."""
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
    """Decides how long to wait. Waiting pays if the rows that are expected meanwhile save more fixed cost
    than the waiting takes, and it must leave enough of the objective to run the batch."""

    def __init__(self, objective: float, most: int) -> None:
        self.cost = CostModel()
        self.arrivals = Arrivals()
        self._objective = objective
        self._most = most

    def wait(self, rows: int, age: float) -> float:
        """Seconds to wait before a batch of `rows`, the oldest of which came `age` seconds ago; 0 to run
        now."""
        fixed, slope = self.cost.coefficients
        rate = self.arrivals.rate
        # Within the time that one fixed cost takes, at least one more row must be expected.
        if rows >= self._most or not fixed or rate * fixed < 1.0:
            return 0.0
        until_full = (self._most - rows) / rate
        allowed = self._objective - age - (fixed + slope * min(self._most, rows + rate * fixed))
        return max(0.0, min(fixed, until_full, allowed))

    def explain(self) -> dict[str, Any]:
        """What it knows, for people."""
        fixed, slope = self.cost.coefficients
        return {"fixed_seconds": fixed, "seconds_per_row": slope, "rows_per_second": self.arrivals.rate}
