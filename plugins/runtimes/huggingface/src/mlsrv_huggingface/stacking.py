"""Stacking: the tensors of rows as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsrv.errors import InferenceError


def stacked(model: str, name: str, rows: Sequence[Any]) -> Any:
    """Return one array of the arrays of rows, each [1, …].

    Raises:
        InferenceError: they are of different shapes.
    """
    shapes = {array.shape for array in rows}
    if len(shapes) > 1:
        told = ", ".join(sorted(str(list(shape)) for shape in shapes)[:3])
        raise InferenceError(
            f'Model {model}: the rows of its output "{name}" are of different shapes ({told}); send each by '
            "itself."
        )
    return np.concatenate(list(rows))
