"""Tensor data: converts the data that clients and model authors give into flat arrays.

A value that its datatype cannot hold raises `InvalidPayload` with the index of the element. The sentences
start with `data`; the caller puts the name of the tensor in front.
"""

import math
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from mlsrv_protocol.datatypes import Datatype, bf16_to_float32, float32_to_bf16
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.pieces import PIECE, pieces_of, types_of
from mlsrv_protocol.plain_arrays import plain_array
from mlsrv_protocol.quoting import clip

Array = npt.NDArray[Any]

_JSON_TEXTS = 'as JSON texts, with the content type "pd_json"'
_ADVICE = {
    datatype: f"send texts with gaps {_JSON_TEXTS}"
    if datatype is Datatype.BYTES
    else f"send truth values with gaps {_JSON_TEXTS}"
    if datatype is Datatype.BOOL
    else f"send whole numbers with gaps as FP64, whose null is NaN, or {_JSON_TEXTS}"
    for datatype in Datatype
    if not datatype.is_float
}
"""What to do about a null, by datatype; those of floating point take it."""

MAX_NESTING = 64
"""The most levels of nested lists in `data`."""

_SMALL = 64
_EXACT = 2**53
_NONE = type(None)
_NUMBERS = frozenset({int, float})
_FLOATS = frozenset({int, float, _NONE, str})
_BITS = frozenset({int, bool})
_TRUTHS = frozenset({0, 1})
_PLAIN = frozenset({int, float, _NONE, str, bool, bytes, dict})
_FLOAT_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def numeric(data: Any, datatype: Datatype) -> Array:
    """Return the elements of a numeric tensor as a flat C-contiguous array of the datatype's dtype, without a
    copy where possible.

    Args:
        data: an array of any shape and dtype, or (nested) lists of numbers. Lists may hold None, "NaN",
            "Infinity" and "-Infinity" for floating-point datatypes. For BF16 a uint16 array holds bit
            patterns, anything else holds values. Masked elements are NaN for floating-point datatypes.
        datatype: any but BYTES.

    Raises:
        InvalidPayload: the nesting is ragged, or an element does not fit the datatype exactly (floats may be
            rounded).
    """
    if type(data) is list:
        return numeric_list(data, datatype)
    if type(data) is np.ndarray:
        return _from_array(data, datatype)
    return _from_other(data, datatype)


def numeric_list(data: list[Any], datatype: Datatype) -> Array:
    """Return what `numeric` returns, for data that is a list."""
    leaves, types = data, set(map(type, data)) if len(data) <= PIECE else types_of(data)
    if list in types:
        leaves, types = flatten(data)
    if datatype.is_float:
        if types <= _FLOATS:
            return _floats(leaves, types, datatype)
    elif datatype.is_integer:
        if types <= _NUMBERS:
            return _integers(leaves, types, datatype)
    elif types <= _BITS and all(map(_TRUTHS.issuperset, pieces_of(leaves))):
        return _array(leaves, np.bool_)
    if types <= _PLAIN:
        refuse(leaves, datatype)
    return _from_other(data, datatype)  # numpy scalars, tuples, arrays inside a list: Python code made it


def flatten(data: list[Any]) -> tuple[list[Any], set[type]]:
    """Return the leaves of nested lists, row by row, and their types. A flat list is returned as it is.

    Raises:
        InvalidPayload: the lists of one level differ in length, or are mixed with elements; or they are
            nested too deep.
    """
    level = data
    for _ in range(MAX_NESTING):
        types = set(map(type, level)) if len(level) <= PIECE else types_of(level)
        if list not in types:
            return level, types
        if len(types) > 1 or len(set(map(len, level))) > 1:
            raise InvalidPayload("data is ragged; nested arrays of one level must have the same length.")
        level = list(chain.from_iterable(level))
    raise InvalidPayload(f"data is nested more than {MAX_NESTING} levels deep.")


def refuse(leaves: list[Any], datatype: Datatype) -> NoReturn:
    """Raise InvalidPayload for the first element that does not fit the datatype; there must be one."""
    for index, value in enumerate(leaves):
        if not _fits(value, datatype):
            what = f"data[{index}] is {clip(value)}, but {datatype} takes only {_allowed_values(datatype)}"
            if value is None:
                what += f"; {_ADVICE[datatype]}"
            raise InvalidPayload(f"{what}.")
    raise InvalidPayload(f"data does not fit {datatype}, which takes only {_allowed_values(datatype)}.")


def _integers(leaves: list[Any], types: set[type], datatype: Datatype) -> Array:
    whole = leaves
    if float in types:
        whole = [int(value) if type(value) is float and _is_whole(value) else value for value in leaves]
        if not types_of(whole) <= {int}:
            refuse(leaves, datatype)
    if not _in_range(whole, datatype):
        refuse(leaves, datatype)
    if len(whole) > PIECE:
        return _array(whole, datatype.dtype)
    return np.array(whole, dtype=datatype.dtype)


def _floats(leaves: list[Any], types: set[type], datatype: Datatype) -> Array:
    if str in types:
        try:
            leaves = [_FLOAT_WORDS[value] if type(value) is str else value for value in leaves]
        except KeyError:
            refuse(leaves, datatype)
    if (
        types <= _NUMBERS
        and len(leaves) <= _SMALL
        and datatype is not Datatype.BF16
        and _in_range(leaves, datatype)
    ):
        return np.array(leaves, dtype=datatype.dtype)
    try:
        # None becomes NaN.
        wide = np.array(leaves, dtype=np.float64) if len(leaves) <= PIECE else _array(leaves, np.float64)
    except OverflowError:  # an integer beyond the range of a double
        refuse(leaves, datatype)
    return _round(wide, datatype)


def _in_range(leaves: list[Any], datatype: Datatype) -> bool:
    """Return whether no number overflows. For few numbers this is cheaper than numpy's check afterwards."""
    if len(leaves) > PIECE:
        return all(_in_range(piece, datatype) for piece in pieces_of(leaves))
    return not leaves or bool(min(leaves) >= datatype.lowest and max(leaves) <= datatype.highest)


def _array(leaves: list[Any], dtype: Any) -> Array:
    return np.concatenate([np.array(piece, dtype=dtype) for piece in pieces_of(leaves)])


def _from_array(array: Array, datatype: Datatype) -> Array:
    flat = array.ravel()
    if flat.dtype == datatype.dtype:
        return flat
    kind = flat.dtype.kind
    if kind in "biuf" and not (datatype is Datatype.BF16 and kind != "f"):
        if datatype.is_float:
            return _round(flat, datatype)
        if kind == "f" and not (np.isfinite(flat).all() and (flat == np.trunc(flat)).all()):
            refuse(flat.tolist(), datatype)
        if flat.size and not (datatype.lowest <= int(flat.min()) and int(flat.max()) <= datatype.highest):
            refuse(flat.tolist(), datatype)
        return flat.astype(datatype.dtype)
    if datatype is Datatype.BF16 and flat.dtype.name == "bfloat16":
        return flat.view(np.uint16)
    raise InvalidPayload(f"data is a numpy array of {flat.dtype}, which cannot be sent as {datatype}.")


def _from_other(data: Any, datatype: Datatype) -> Array:
    if datatype.is_float and isinstance(data, np.ma.MaskedArray) and data.dtype.kind in "biu":
        data = data.astype(np.float64)  # so that a masked integer has a missing value to become
    try:
        array = plain_array(data)
    except ValueError:
        raise InvalidPayload(
            "data is ragged; nested arrays of one level must have the same length."
        ) from None
    if array.dtype.kind in "OSUTV" and array.dtype.name != "bfloat16":
        raise InvalidPayload(f"data is {clip(data)}, which cannot be sent as {datatype}.")
    return _from_array(array, datatype)


def _round(wide: Array, datatype: Datatype) -> Array:
    """Round to the nearest values of a floating-point datatype. Raises InvalidPayload for a finite value that
    would become infinite.
    """
    if wide.dtype == np.float64 and datatype is Datatype.FP64:
        return wide
    with np.errstate(over="ignore", invalid="ignore"):
        if datatype is Datatype.BF16:
            narrow: Array = float32_to_bf16(wide)
            infinite = (narrow & 0x7FFF) == 0x7F80
        else:
            narrow = wide.astype(datatype.dtype)
            infinite = np.isinf(narrow)
    if infinite.any() and np.isfinite(wide[infinite]).any():
        refuse(wide.tolist(), datatype)
    return narrow


def _allowed_values(datatype: Datatype) -> str:
    if datatype is Datatype.BYTES:
        return "strings"
    if datatype is Datatype.BOOL:
        return "true, false, 0 and 1"
    if datatype.is_integer:
        return f"whole numbers from {datatype.lowest} to {datatype.highest}"
    return f'numbers up to ±{datatype.highest:g}, null, "NaN", "Infinity" and "-Infinity"'


def _fits(value: Any, datatype: Datatype) -> bool:
    if datatype is Datatype.BYTES:
        return type(value) is str
    if datatype is Datatype.BOOL:
        return type(value) is bool or (type(value) is int and value in _TRUTHS)
    if type(value) in _NUMBERS:
        if datatype.is_integer:
            return bool(datatype.lowest <= value <= datatype.highest) and (
                type(value) is int or _is_whole(value)
            )
        return bool(datatype.lowest <= value <= datatype.highest) or _rounds(value, datatype)
    return datatype.is_float and (value is None or (type(value) is str and value in _FLOAT_WORDS))


def _rounds(value: float, datatype: Datatype) -> bool:
    """Return whether a number beyond the largest of a datatype is infinite, NaN, or rounds to the largest."""
    try:
        wide = np.array([value], dtype=np.float64)
    except OverflowError:
        return False
    with np.errstate(over="ignore"):
        if datatype is Datatype.BF16:
            narrow = bf16_to_float32(float32_to_bf16(wide))
        else:
            narrow = wide.astype(datatype.dtype)
    return bool(np.isfinite(narrow[0]) or not np.isfinite(wide[0]))


def _is_whole(value: float) -> bool:
    """Return whether a float is exactly the whole number in the text; from 2**53 on it may be rounded."""
    return -_EXACT < value < _EXACT and value.is_integer()
