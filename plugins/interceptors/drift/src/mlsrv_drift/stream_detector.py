"""Stream detector: changes in the numbers of one feature, seen one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from mlsrv.errors import ConfigurationError

KEPT = 2000
"""Standardized values that are kept; after a restart the detector sees them again."""

SEED = 1


class StreamDetector:
    """A detector of the library river.

    Args:
        kind: ``adwin``, ``kswin`` or ``page_hinkley``.
        mean, scale: of the reference. Values are standardized with them, since what these detectors find
            depends on the scale. Values that are not finite are left out: one would end all detection.
    """

    def __init__(self, kind: str, mean: float, scale: float) -> None:
        self._kind = kind
        self._mean = mean
        self._scale = scale
        self._detector = made(kind)
        self.recent: deque[float] = deque(maxlen=KEPT)

    def update(self, values: Any) -> int:
        """Return how many changes it finds in some values."""
        return self._see(((values[np.isfinite(values)] - self._mean) / self._scale).tolist())

    def replay(self, recent: Iterable[float]) -> None:
        """See standardized values of an earlier process."""
        self._see(recent)

    def _see(self, values: Iterable[float]) -> int:
        changes = 0
        for value in values:
            self.recent.append(value)
            self._detector.update(value)
            changes += bool(self._detector.drift_detected)
        return changes


def made(kind: str) -> Any:
    """Return a new detector of river.

    Raises:
        ConfigurationError: river is not installed.
    """
    try:
        from river import drift
    except ImportError as error:
        raise ConfigurationError(
            f'drift_stream: "{kind}" needs river (pip install mlsrv-drift[stream]); it is not installed.'
        ) from error
    if kind == "kswin":
        return drift.KSWIN(seed=SEED)
    return drift.ADWIN() if kind == "adwin" else drift.PageHinkley()
