"""Results: what estimators return, as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlsrv.errors import InferenceError, InvalidPayload, ModelFailed
from mlsrv_protocol.plain_arrays import as_text, plain_array

MAX_DENSE = 2**24
"""Elements up to which a sparse result is made dense: 128 MiB of float64."""


def is_table(result: Any) -> bool:
    """Return whether a result is a DataFrame, of pandas or of polars."""
    return hasattr(result, "columns") and hasattr(result, "to_numpy")


def columns(table: Any) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a DataFrame: their names and arrays."""
    for name in table.columns:
        yield as_text(name), table[name].to_numpy()


def as_arrays(model: str, output: str, result: Any) -> dict[str, Any]:
    """Return the arrays of one output by name: one, or several if the model has several targets.

    Raises:
        InferenceError: a sparse matrix that would be too large.
        ModelFailed: an element is masked that has no missing value.
    """
    if isinstance(result, list) and result and all(isinstance(part, np.ndarray) for part in result):
        return {f"{output}-{number}": part for number, part in enumerate(result, 1)}
    if hasattr(result, "toarray"):
        if math.prod(result.shape) > MAX_DENSE:
            raise InferenceError(
                f"Model {model}: {output} gives a sparse matrix of {result.shape[0]} x {result.shape[1]}, "
                f"which is sent with its zeros; send fewer rows, so that it has at most {MAX_DENSE} elements."
            )
        return {output: result.toarray()}
    if hasattr(result, "to_numpy"):
        return {output: result.to_numpy()}
    try:
        return {output: plain_array(result)}
    except InvalidPayload as error:
        raise ModelFailed(f'Model {model}, output "{output}": {error}') from error
