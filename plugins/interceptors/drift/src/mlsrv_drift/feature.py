"""Feature: one column that is watched, with its reference and the values of the open window."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv_drift.columns import Column
from mlsrv_drift.reference import NumericReference, Reference
from mlsrv_drift.stream_detector import StreamDetector


class Feature:
    """One feature of the inputs or of the outputs.

    Args:
        name: of the column.
        label: in metrics, where a name that clients choose does not belong.
        datatype: of the tensor.
        reference: what windows are compared with.
        stream: kind of the detector that sees each value, or None.

    Attributes:
        detector: None where there is none, as for categories.
        changes: that it has found.
    """

    def __init__(
        self, name: str, label: str, datatype: str, reference: Reference, stream: str | None
    ) -> None:
        self.name = name
        self.label = label
        self.datatype = datatype
        self.reference = reference
        self.changes = 0
        self.detector: StreamDetector | None = None
        if stream is not None and isinstance(reference, NumericReference):
            self.detector = StreamDetector(stream, reference.mean, reference.scale)
        self._values: list[npt.NDArray[Any]] = []

    def take(self, column: Column) -> int:
        """Add values to the window. Returns the number of changes that the detector found in them."""
        values = self.reference.values(column)
        self._values.append(values)
        if self.detector is None:
            return 0
        found = self.detector.update(values)
        self.changes += found
        return found

    def window(self) -> npt.NDArray[Any]:
        """Return the values of the open window."""
        if len(self._values) != 1:
            self._values = [np.concatenate(self._values) if self._values else np.empty(0)]
        return self._values[0]

    def clear(self) -> None:
        """Begin a new window."""
        self._values = []

    def restore(self, window: npt.NDArray[Any], changes: int, recent: list[float]) -> None:
        """Go on where an earlier process ended."""
        self._values = [window] if len(window) else []
        self.changes = changes
        if self.detector is not None:
            self.detector.replay(recent)
