"""Column encoding: from a column of a DataFrame to a tensor."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from pandas.api import types

from mlsrv.errors import CodecError
from mlsrv_pandas.cells import CELLS, MISSING, USUAL_GAP, gap_of, kind_of, text_of
from mlsrv_pandas.dtypes import CATEGORIES, CATEGORIES_DTYPE, DTYPE, ORDERED, TEXT, name_of
from mlsrv_pandas.jsonvalues import CONTENT_TYPE as JSON
from mlsrv_pandas.jsonvalues import to_json_texts
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.types import Parameters

Column: TypeAlias = "pd.Series[Any]"
Written: TypeAlias = "tuple[Datatype, Any, dict[str, Any]]"

_CONTENT_TYPES = {"str": "str", "base64": "base64", "datetime": "datetime", "date": "datetime"}
"""Content types of object columns without gaps, by the kind of their cells."""
_MARKERS = {"datetime": {DTYPE: "object"}, "date": {CELLS: "date"}}
"""What tells such a column from one of dates."""

_EXACT = 2**53
"""Up to here a double holds every integer."""


def to_tensor(name: str, column: Column, use_bytes: bool) -> tuple[Datatype, Any, Parameters | None]:
    """Return the datatype, the flat data and the parameters of one column.

    Raises:
        CodecError: no tensor holds the column.
    """
    datatype, data, parameters = _written(name, column, use_bytes)
    return datatype, data, Parameters(**parameters) if parameters else None


def _written(name: str, column: Column, use_bytes: bool) -> Written:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(name, column, dtype, use_bytes)
    if types.is_datetime64_any_dtype(dtype):
        return _dates(name, column, use_bytes)
    if types.is_bool_dtype(dtype) and not types.is_object_dtype(dtype):
        return _marked(_numbers(name, column, bool, use_bytes), dtype)
    if types.is_integer_dtype(dtype):
        return _marked(_numbers(name, column, _numpy_dtype(dtype), use_bytes), dtype)
    if types.is_float_dtype(dtype):
        values = column.to_numpy(_numpy_dtype(dtype), na_value=np.nan)
        return _marked(_array(name, values), dtype)
    if types.is_object_dtype(dtype) or types.is_string_dtype(dtype):
        return _objects(name, column, use_bytes)
    raise CodecError(
        f'Column "{name}" has the dtype {dtype}, which no tensor holds; convert it, '
        "for example to numbers or texts."
    )


def _numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the numpy dtype of the values of a numpy, nullable, Arrow or sparse dtype."""
    if isinstance(dtype, np.dtype):
        return dtype
    return np.dtype(dtype.subtype if isinstance(dtype, pd.SparseDtype) else dtype.numpy_dtype)


def _marked(written: Written, dtype: Any) -> Written:
    datatype, data, parameters = written
    if not isinstance(dtype, np.dtype) and (known := name_of(dtype)) is not None:
        parameters = {**parameters, DTYPE: known}
    return datatype, data, parameters


def _array(name: str, values: np.ndarray[Any, Any]) -> Written:
    try:
        datatype = Datatype.from_numpy(values.dtype)
    except InvalidPayload:
        raise CodecError(f'Column "{name}": no datatype holds {values.dtype}.') from None
    return datatype, np.ascontiguousarray(values, datatype.dtype), {}


def _numbers(name: str, column: Column, dtype: Any, use_bytes: bool) -> Written:
    """Encode integers or booleans; next to missing values as doubles where these are exact, else as JSON."""
    missing = column.isna().to_numpy()
    if not missing.any():
        return _array(name, column.to_numpy(dtype))
    if dtype is not bool:
        present = column[~missing]
        if not len(present) or (int(present.min()) >= -_EXACT and int(present.max()) <= _EXACT):
            return _array(name, column.to_numpy(np.float64, na_value=np.nan))
    return _json(name, column.to_numpy(object, na_value=None), use_bytes)


def _dates(name: str, column: Column, use_bytes: bool) -> Written:
    texts = [None if date is pd.NaT else date.isoformat() for date in column]
    marker = {DTYPE: name_of(column.dtype)} if name_of(column.dtype) else {}
    # A datetime has neither nanoseconds nor a missing value: what has travels as JSON.
    if None in texts or any(date.nanosecond for date in column):
        datatype, data, parameters = _json(name, texts, use_bytes)
        return datatype, data, {**parameters, **marker}
    return Datatype.BYTES, _texts(texts, use_bytes), {"content_type": "datetime", **marker}


def _categories(name: str, column: Column, dtype: pd.CategoricalDtype, use_bytes: bool) -> Written:
    categories = dtype.categories
    are_dates = types.is_datetime64_any_dtype(categories.dtype)
    values = [date.isoformat() for date in categories] if are_dates else categories.tolist()
    (listed,) = to_json_texts(name, [values], use_bytes=False)
    if json.loads(listed) != values:
        raise CodecError(
            f'Column "{name}" has categories of {categories.dtype}; convert them, for example to texts.'
        )
    if column.isna().any():
        cells = [None if code < 0 else values[code] for code in column.cat.codes]
        written = _json(name, cells, use_bytes)
    else:
        written = _written(name, pd.Series(categories.take(column.cat.codes)), use_bytes)
    datatype, data, parameters = written
    parameters = {**parameters, DTYPE: "category", CATEGORIES: listed}
    if are_dates:
        parameters[CATEGORIES_DTYPE] = name_of(categories.dtype)
    if dtype.ordered:
        parameters[ORDERED] = True
    return datatype, data, parameters


def _objects(name: str, column: Column, use_bytes: bool) -> Written:
    dtype = column.dtype
    marker: dict[str, Any] = {DTYPE: name_of(dtype)} if name_of(dtype) and dtype != TEXT else {}
    missing = column.isna().to_numpy()
    present = [cell for cell, gone in zip(column, missing, strict=True) if not gone]
    kind = kind_of(present) or ("str" if not len(column) else None)
    whole = len(present) == len(column)
    if whole and kind == "datetime":
        whole = not any(getattr(moment, "nanosecond", 0) for moment in present)
    if whole and kind in _CONTENT_TYPES:
        texts = [text_of(cell, kind) for cell in present]
        if kind != "str":
            marker = _MARKERS.get(kind, {})
        return Datatype.BYTES, _texts(texts, use_bytes), {"content_type": _CONTENT_TYPES[kind], **marker}
    values: list[Any] = [None if gone else cell for cell, gone in zip(column, missing, strict=True)]
    datatype, data, parameters = _json(name, values, use_bytes)
    if not types.is_object_dtype(dtype):
        return datatype, data, {**parameters, DTYPE: name_of(dtype)}
    if kind is not None and kind != "str":
        parameters[CELLS] = kind
    gap = gap_of([cell for cell, gone in zip(column, missing, strict=True) if gone])
    if gap is not None and gap != USUAL_GAP:
        parameters[MISSING] = gap
    return datatype, data, parameters


def _json(name: str, values: Any, use_bytes: bool) -> Written:
    return Datatype.BYTES, to_json_texts(name, values, use_bytes), {"content_type": JSON}


def _texts(texts: list[Any], use_bytes: bool) -> list[Any]:
    return [text.encode() for text in texts] if use_bytes else [str(text) for text in texts]
