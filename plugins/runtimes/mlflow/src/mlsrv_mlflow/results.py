"""Model results: converts the value that a model returned to outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from mlsrv.codecs import NumpyCodec, PandasCodec
from mlsrv.errors import CodecNotFound, ModelFailed
from mlsrv.types import ResponseOutput
from mlsrv_protocol.plain_arrays import as_text, plain_array

ONLY = "output-1"
"""The name of an output that the signature does not name."""

_OBJECTS = (dict, date, time, Decimal, UUID, set, frozenset, pd.DataFrame)
_EXACT = 2**53
"""Up to here a double holds every integer."""
_SCALARS = (str, bytes, bool, int, float, np.generic, type(None))


def by_name(model: str, result: Any, declared: Sequence[str]) -> dict[str, Any]:
    """Return the values of a prediction by the names of their outputs.

    A DataFrame and a dict have names; those of columns without one, and of anything else, come from the
    signature. An array with a column for each declared output is taken apart.

    Args:
        model: its name, for messages.
        result: what `predict` returned.
        declared: the outputs of the signature.

    Raises:
        ModelFailed: two columns have one name.
    """
    if isinstance(result, pd.DataFrame):
        return _columns(model, result, declared)
    if isinstance(result, Mapping):
        return {as_text(name): value for name, value in result.items()}
    if isinstance(result, np.ndarray) and result.ndim == 2 and result.shape[1] == len(declared) > 1:
        return dict(zip(declared, result.T, strict=True))
    return {declared[0] if len(declared) == 1 else ONLY: result}


def encoded(model: str, name: str, value: Any) -> ResponseOutput:
    """Return the output of one value: numbers as an array of their shape, anything else as a column whose
    elements are texts, dates, or JSON. An object, such as a dict, is a column of one row.

    Raises:
        CodecNotFound: it is nothing that can be sent.
        CodecError: it holds such a thing.
    """
    if isinstance(value, _SCALARS + _OBJECTS):
        value = [value]
    elif isinstance(value, Mapping):
        value = [dict(value)]
    if isinstance(value, list | tuple):
        value = _numbers(value)
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OM":
        return NumpyCodec.encode_output(name, value)
    if not isinstance(value, np.ndarray | list | pd.Series):
        raise CodecNotFound.for_payload(value, f'Model {model}, output "{name}"')
    if isinstance(value, pd.Series):
        column = value.reset_index(drop=True)
    elif isinstance(value, np.ndarray) and value.ndim == 1:
        column = pd.Series(value)  # which knows masks
    else:
        column = pd.Series(list(value))
    return PandasCodec.encode_response(model, pd.DataFrame({name: column})).outputs[0]


def plain(value: Any) -> Any:
    """Return a value in the form that codecs of tensors take: an array of numbers, or a list."""
    if isinstance(value, _SCALARS):
        return [value]
    if isinstance(value, pd.Series):
        return value.to_numpy() if value.dtype.kind in "biuf" else value.tolist()
    return value


def _columns(model: str, frame: pd.DataFrame, declared: Sequence[str]) -> dict[str, Any]:
    is_unnamed = isinstance(frame.columns, pd.RangeIndex)
    if is_unnamed and len(declared) == len(frame.columns):
        names = list(declared)
    else:
        names = [f"output-{name + 1}" if is_unnamed else as_text(name) for name in frame.columns]
    for name in names:
        if names.count(name) > 1:
            raise ModelFailed(f'Model {model} returned two columns that are called "{name}".')
    return {name: frame.iloc[:, number] for number, name in enumerate(names)}


def _numbers(values: Sequence[Any]) -> Any:
    """Return a list of numbers, or of equally long lists of numbers, as an array; any other list
    unchanged."""
    try:
        array = plain_array(values)
    except ValueError:  # lists of different lengths
        return list(values)
    if array.dtype.kind == "f" and not all(map(_is_exact, _leaves(values))):
        # Beyond 64 signed bits, numpy makes floating-point numbers of integers.
        try:
            if not any(map(_is_float, _leaves(values))):
                return np.array(values, np.uint64)
        except OverflowError:
            pass  # among them is a negative one, or one beyond 64 bits
        return np.array(values, object) if array.ndim == 1 else list(values)
    return array if array.dtype.kind in "biuf" else list(values)


def _leaves(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _leaves(value)
        else:
            yield value


def _is_float(value: Any) -> bool:
    return isinstance(value, float | np.floating)


def _is_exact(value: Any) -> bool:
    return not isinstance(value, int) or -_EXACT <= value <= _EXACT or int(float(value)) == value
