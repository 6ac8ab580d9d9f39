"""Model results: converts the value that a model returned to outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlsrv.codecs import NumpyCodec, PandasCodec
from mlsrv.errors import CodecNotFound, ModelFailed
from mlsrv.types import ResponseOutput
from mlsrv_protocol.plain_arrays import as_text, plain_array

ONLY = "output-1"
"""The name of an output that the signature does not name."""

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
    elements are texts, dates, or JSON.

    Raises:
        CodecNotFound: it is nothing that can be sent.
    """
    if isinstance(value, _SCALARS):
        value = [value]
    if isinstance(value, list | tuple):
        value = _numbers(value)
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OM":
        return NumpyCodec.encode_output(name, value)
    if not isinstance(value, np.ndarray | list | pd.Series):
        raise CodecNotFound.for_payload(value, f'Model {model}, output "{name}"')
    column = value.reset_index(drop=True) if isinstance(value, pd.Series) else pd.Series(list(value))
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
    return array if array.dtype.kind in "biuf" else list(values)
