"""Crashes: counts how often requests to a model ended the worker process that ran them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

CRASHES = 3
"""Crashes within `PERIOD` after which a model is isolated."""

PERIOD = 60.0
"""Seconds in which crashes are counted together."""


class Crashes:
    """The crashes of the models of one pool.

    A crash counts in equal parts for the models whose requests were running.
    """

    def __init__(self) -> None:
        self._shares: dict[int, deque[tuple[float, float]]] = {}

    def add(self, running: Mapping[int, int], now: float) -> int | None:
        """Count one crash.

        Args:
            running: number of requests that were running, by model.
            now: the time in seconds.

        Returns:
            A model that has crashed so often that it should be isolated, or None. It is counted anew then.
        """
        for model in running:
            self._shares.setdefault(model, deque()).append((now, 1 / len(running)))
        totals = self._totals(now)
        guilty = next((model for model in running if totals[model] > CRASHES - 0.01), None)
        if guilty is not None:
            self._shares.clear()  # the others may have been its victims
        return guilty

    def suspects(self, now: float) -> frozenset[int]:
        """Return the models with the most crashes lately; none if there was no crash."""
        totals = self._totals(now)
        most = max(totals.values(), default=0.0)
        return frozenset(model for model, total in totals.items() if total > most - 0.01)

    def _totals(self, now: float) -> dict[int, float]:
        for model, shares in list(self._shares.items()):
            while shares and shares[0][0] < now - PERIOD:
                shares.popleft()
            if not shares:
                del self._shares[model]
        return {model: sum(share for _, share in shares) for model, shares in self._shares.items()}

    def forget(self, model: int) -> None:
        """Forget a model that was unloaded."""
        self._shares.pop(model, None)
