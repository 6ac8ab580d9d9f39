"""Question: what an explainer asks of the model that it explains, as a request of the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv.errors import InferenceError
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
)

Array = npt.NDArray[Any]

DEFAULT_NAME = "predict"
"""Name of the tensor where nothing tells the model's."""


def question(values: Array | Sequence[str], name: str, datatype: str | None, output: str) -> InferenceRequest:
    """Return the request for the predictions of some rows, or texts.

    Args:
        values: rows, or texts.
        name: of the tensor.
        datatype: that the client sent; rows that it can hold are sent in it.
        output: the output that is explained; empty for the first.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        array = np.ascontiguousarray(values)
        wanted = Datatype(datatype).dtype if datatype is not None else None
        if wanted is not None and _fits(array, wanted):
            array = array.astype(wanted)
        data: Any = array.reshape(-1)
        tensor = RequestInput(name, list(array.shape), Datatype.from_numpy(array.dtype), data)
        content_type = "np"
    else:
        texts = [str(text) for text in np.ravel(np.asarray(values, object))]
        tensor = RequestInput(name, [len(texts)], Datatype.BYTES, texts)
        content_type = "str"
    tensor.parameters = Parameters(content_type=content_type)
    outputs = [RequestOutput(output)] if output else None
    return InferenceRequest([tensor], outputs=outputs, parameters=Parameters(content_type=content_type))


def _fits(array: Array, wanted: Any) -> bool:
    return bool(wanted.kind == "f" or (wanted.kind in "biu" and np.array_equal(array.astype(wanted), array)))


def predictions(answer: InferenceResponse, output: str, rows: int) -> Array:
    """Return the predictions in an answer: [rows], or [rows, ...] for several values of each.

    Raises:
        InferenceError: the model has no such output, or no numbers in it.
    """
    found = next((one for one in answer.outputs if one.name == output or not output), None)
    if found is None:
        has = ", ".join(one.name for one in answer.outputs) or "none"
        raise InferenceError(f"The explained model has no output {output}; it has {has}.")
    try:
        array = np.asarray(found.data, None if found.datatype != Datatype.BYTES else float)
        array = array.reshape(found.shape)
        if len(array) != rows or array.dtype.kind not in "biuf":
            raise ValueError("wrong shape")
    except (ValueError, TypeError) as error:
        raise InferenceError(
            f"The output {found.name} of the explained model is no array of numbers with a row for each row "
            "that it was asked; name another one in parameters.extra.infer_output."
        ) from error
    return array.reshape(array.shape[:-1]) if array.ndim > 1 and array.shape[-1] == 1 else array
