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
        guilty: int | None = None
        for model in running:
            shares = self._shares.setdefault(model, deque())
            shares.append((now, 1 / len(running)))
            while shares[0][0] < now - PERIOD:
                shares.popleft()
            if sum(share for _, share in shares) > CRASHES - 0.01:
                guilty = model
        if guilty is not None:
            self._shares.clear()  # the others may have been its victims
        return guilty

    def forget(self, model: int) -> None:
        """Forget a model that was unloaded."""
        self._shares.pop(model, None)
