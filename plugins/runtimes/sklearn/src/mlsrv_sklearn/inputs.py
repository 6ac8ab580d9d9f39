"""Inputs: values of requests as estimators take them."""

from __future__ import annotations

from typing import Any

import numpy as np


def table_class() -> Any:
    """Return the DataFrame class of pandas, or None if pandas is not installed."""
    try:
        from pandas import DataFrame
    except ModuleNotFoundError:
        return None
    return DataFrame


def as_texts(array: Any) -> Any:
    """Return an array of objects with `str` in the place of `bytes`.

    Requests in binary form and over gRPC have bytes, which are no equal of the texts that an estimator was
    fitted on.
    """
    if not any(isinstance(cell, bytes) for cell in array.flat):
        return array
    found = np.empty(array.size, object)
    found[:] = [_text(cell) if isinstance(cell, bytes) else cell for cell in array.flat]
    return found.reshape(array.shape)


def in_doubles(values: Any) -> Any:
    """Return a matrix, or a DataFrame, with doubles in the place of other floating-point numbers.

    It is None if there are none.
    """
    if isinstance(values, np.ndarray):
        is_other = values.dtype.kind == "f" and values.dtype != np.float64
        return values.astype(np.float64) if is_other else None
    if not hasattr(values, "dtypes") or not hasattr(values, "astype"):
        return None
    others = [
        name
        for name, dtype in values.dtypes.items()
        if isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype != np.float64
    ]
    return values.astype(dict.fromkeys(others, np.float64)) if others else None


def _text(cell: bytes) -> str | bytes:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell
