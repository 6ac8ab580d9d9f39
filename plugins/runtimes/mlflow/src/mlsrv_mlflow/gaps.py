"""Gaps: missing values of predictions, of which JSON knows one spelling, ``null``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def without_gaps(value: Any) -> Any:
    """Return a prediction with None for every missing value: NaN, NaT, `pandas.NA`, or a masked element.

    Infinities become the words of the protocol, "Infinity" and "-Infinity". Arrays and columns that have
    neither are returned as they are.
    """
    if isinstance(value, pd.DataFrame):
        return _frame(value)
    if isinstance(value, pd.Series):
        return _series(value)
    if isinstance(value, np.ma.MaskedArray):
        return without_gaps(value.tolist())
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, Mapping):
        return {key: without_gaps(inner) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(without_gaps, value))
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return None if value is pd.NaT or value is pd.NA else value


def _frame(frame: pd.DataFrame) -> pd.DataFrame:
    found = frame.copy(deep=False)
    for number in range(frame.shape[1]):
        column = frame.iloc[:, number]
        changed = _series(column)
        if changed is not column:
            found.isetitem(number, changed)
    return found


def _series(column: Any) -> Any:
    if column.dtype.kind in "biu" and not column.hasnans:
        return column
    if column.dtype.kind == "f" and np.isfinite(column.to_numpy(np.float64, na_value=np.nan)).all():
        return column
    cells = [without_gaps(cell) for cell in column]
    return pd.Series(cells, index=column.index, name=column.name, dtype=object)


def _array(array: Any) -> Any:
    if array.dtype.kind in "fc" and np.isfinite(array).all():
        return array
    if array.dtype.kind == "M" and not np.isnat(array).any():
        return array
    if array.dtype.kind not in "fMO":
        return array
    flat = pd.Series(array.reshape(-1)) if array.dtype.kind == "M" else array.reshape(-1)
    found = np.empty(array.size, object)
    found[:] = [without_gaps(cell) for cell in flat]
    return found.reshape(array.shape)
