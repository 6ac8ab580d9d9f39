"""Column decoding: from a tensor to a column of a DataFrame."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from mlsrv.codecs import DecodedInput
from mlsrv.errors import CodecError
from mlsrv_pandas.cells import CELLS, MISSING, restored
from mlsrv_pandas.dtypes import CATEGORIES, CATEGORIES_DTYPE, DTYPE, ORDERED, TEXT, is_known
from mlsrv_pandas.jsonvalues import CONTENT_TYPE as JSON
from mlsrv_pandas.jsonvalues import from_json_texts
from mlsrv_protocol.datatypes import Datatype, bf16_to_float32
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.strings import elements
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.types import Parameters, RequestInput, ResponseOutput

Column: TypeAlias = "pd.Series[Any]"
Tensor: TypeAlias = RequestInput | ResponseOutput

_NONE = Parameters()
_DATES = "datetime64"


def _text(element: str | bytes) -> str:
    return element if isinstance(element, str) else element.decode()


def _text_if_possible(element: str | bytes) -> str | bytes:
    try:
        return _text(element)
    except UnicodeDecodeError:
        return element


_ELEMENTS: dict[str | None, tuple[str, Callable[[str | bytes], Any]]] = {
    "str": ("UTF-8", _text),
    "base64": ("base64", lambda element: b64decode(element, validate=True)),
    "datetime": ("a date of ISO 8601", lambda element: datetime.fromisoformat(_text(element))),
}


def to_series(tensor: Tensor) -> Column:
    """Return the column of one tensor, with an index that counts from 0.

    Raises:
        CodecError: the tensor is not a column; the sentence names it.
    """
    parameters = tensor.parameters or _NONE
    if isinstance(tensor, DecodedInput):
        values = _decoded(tensor)
    else:
        values = _values(tensor, parameters.content_type)
    marker = parameters.get(DTYPE)
    try:
        values = _as_they_were(values, parameters)
        return _restored(values, marker, parameters) if marker is not None else _inferred(values)
    except CodecError as error:
        raise CodecError(f'Column "{tensor.name}": {error}') from None
    except (TypeError, ValueError, OverflowError, KeyError) as error:
        raise CodecError(f'Column "{tensor.name}" does not fit the dtype {marker}: {error}') from None


def _values(tensor: Tensor, content_type: str | None) -> Any:
    """Return the elements of a tensor that no codec has decoded yet: an array, or a list of Python values."""
    _check_shape(tensor)
    try:
        if tensor.datatype is not Datatype.BYTES:
            if content_type in _ELEMENTS or content_type == JSON:
                raise CodecError(
                    f'Column "{tensor.name}": the content type "{content_type}" takes the datatype BYTES, '
                    f"not {tensor.datatype}."
                )
            flat = numeric(tensor.data, tensor.datatype)
            found: Any = bf16_to_float32(flat) if tensor.datatype is Datatype.BF16 else flat
        elif content_type == JSON:
            found = _ObjectCells(from_json_texts(tensor))
        else:
            found = _converted(tensor, content_type)
    except InvalidPayload as error:
        raise CodecError(f'Column "{tensor.name}": {error}') from None
    if len(found) != _rows(tensor):
        raise CodecError(
            f'Column "{tensor.name}": data has {len(found)} elements, but the shape {tensor.shape} '
            f"means {_rows(tensor)}."
        )
    return found


def _converted(tensor: Tensor, content_type: str | None) -> list[Any]:
    expected, convert = _ELEMENTS.get(content_type, ("", _text_if_possible))
    values: list[Any] = []
    try:
        for element in elements(tensor.data):
            values.append(convert(element))
    except ValueError:
        raise CodecError(f'Column "{tensor.name}": element {len(values)} is not {expected}.') from None
    return values


class _ObjectCells(list[Any]):
    """Cells of any type, for which pandas infers no dtype."""


def _rows(tensor: Tensor) -> int:
    return tensor.shape[0] if tensor.shape else 1


def _check_shape(tensor: Tensor) -> None:
    if any(length != 1 for length in tensor.shape[1:]):
        raise CodecError(
            f'Column "{tensor.name}": a column has the shape [rows] or [rows, 1], not {tensor.shape}; '
            "send one tensor for each column."
        )


def _decoded(tensor: DecodedInput) -> Any:
    """Return the cells of a decoded input; of an array with more dimensions, each row is one cell."""
    values = tensor.data
    if isinstance(values, np.ndarray):
        if values.ndim <= 1 or values.size == len(values):
            return values.reshape(-1)
        return _ObjectCells(values)
    if isinstance(values, pd.Series):
        return values.reset_index(drop=True)
    if isinstance(values, list | tuple):
        json_valued = tensor.parameters is not None and tensor.parameters.content_type == JSON
        return _ObjectCells(values) if json_valued else list(values)
    raise CodecError(
        f'Column "{tensor.name}" was decoded as a {type(values).__name__}, which is not a list of rows.'
    )


def _as_they_were(values: Any, parameters: Parameters) -> Any:
    """Return cells with the types and the missing values that the parameters name."""
    kind, gap = parameters.get(CELLS), parameters.get(MISSING)
    if kind is None and gap is None and not isinstance(values, _ObjectCells):
        return values
    return _ObjectCells(restored(list(values), kind, gap))


def _inferred(values: Any) -> Column:
    if isinstance(values, _ObjectCells):
        return pd.Series(list(values), dtype=object)
    if isinstance(values, list):
        kinds = set(map(type, values))
        if kinds <= {str}:
            return pd.Series(values, dtype=TEXT)
        return pd.Series(values) if kinds == {datetime} else pd.Series(values, dtype=object)
    if isinstance(values, np.ndarray) and values.dtype == object:
        return _inferred(values.tolist())
    return pd.Series(values)


def _restored(values: Any, marker: Any, parameters: Parameters) -> Column:
    if not is_known(marker):
        raise CodecError(f"unknown {DTYPE} {str(marker)[:60]!r}")
    if marker == "category":
        return _categorical(values, parameters)
    if marker.startswith(_DATES):
        return _dates(values, marker)
    if marker == "str":
        return pd.Series(list(values), dtype=TEXT)
    if marker == "object":
        return pd.Series(list(values), dtype=object)
    if isinstance(values, np.ndarray):
        return pd.Series(values).astype(marker)
    # NaN beside whole numbers would make them floats first, which lose the last digits of large ones.
    cells = [None if type(cell) is float and math.isnan(cell) else cell for cell in values]
    return pd.Series(cells, dtype=marker)


def _dates(values: Any, dtype: str) -> Column:
    found = pd.to_datetime(pd.Series(list(values), dtype=object), format="ISO8601", utc="," in dtype)
    return found.astype(dtype)


def _categorical(values: Any, parameters: Parameters) -> Column:
    try:
        listed = json.loads(parameters.get(CATEGORIES, ""))
    except (TypeError, ValueError):
        listed = None
    if not isinstance(listed, list):
        raise CodecError(f"{CATEGORIES} must be a JSON array in a text")
    dtype = parameters.get(CATEGORIES_DTYPE)
    if dtype is not None:
        if not is_known(dtype) or not dtype.startswith(_DATES):
            raise CodecError(f"unknown {CATEGORIES_DTYPE} {str(dtype)[:60]!r}")
        categories, values = pd.Index(_dates(listed, dtype)), _dates(values, dtype)
    else:
        same_kind = isinstance(values, np.ndarray) and values.dtype != object
        categories = pd.Index(listed, dtype=values.dtype) if same_kind else pd.Index(listed)
    if not categories.is_unique or categories.hasnans:
        raise CodecError(f"{CATEGORIES} must hold different values, none of them null")
    cells = pd.Index(list(values), dtype=object)
    codes = categories.astype(object).get_indexer(cells)
    if ((codes < 0) & ~cells.isna()).any():
        raise CodecError(f"a value is not among {CATEGORIES}")
    return pd.Series(pd.Categorical.from_codes(codes, categories, ordered=bool(parameters.get(ORDERED))))
