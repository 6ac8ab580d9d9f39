"""Values: converts between tensors of requests and values of ONNX Runtime."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import onnxruntime

from mlsrv.errors import InferenceError
from mlsrv.types import Datatype, MetadataTensor
from mlsrv_protocol.plain_arrays import as_text

_BFLOAT16 = 16
"""ONNX's number of the type (onnx.proto, TensorProto.DataType)."""


def fitted(model: str, declared: MetadataTensor, data: Any) -> Any:
    """Return the array that a graph takes for an input.

    Args:
        model: its name, for messages.
        declared: the graph's input; a column may come as ``[n]`` or ``[n, 1]``.
        data: the decoded input; BF16 as bit patterns in uint16.

    Raises:
        InferenceError: texts that are not UTF-8, or an array of another shape.
    """
    is_text = declared.datatype is Datatype.BYTES
    array = np.asarray(data, dtype=object if is_text else None, order="C")
    wanted = declared.shape
    if array.ndim == 1 and len(wanted) == 2 and wanted[1] in (1, -1):
        array = array.reshape(-1, 1)
    elif len(wanted) == 1 and array.shape[1:] == (1,):
        array = array.reshape(-1)
    elif array.ndim != len(wanted):
        raise InferenceError(
            f'Model {model}, input "{declared.name}": shape {list(array.shape)} was sent, the model takes '
            f"{list(wanted)} (-1 is any size)."
        )
    return _texts(model, declared.name, array) if is_text else array


def to_value(array: Any, datatype: Datatype) -> Any:
    """Return an array as an OrtValue, which BF16 needs because numpy has no such type."""
    if datatype is Datatype.BF16:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def from_value(value: Any) -> Any:
    """Return the array of an OrtValue; BF16 as bit patterns in uint16."""
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64))
    # The memory is the value's, so it is copied.
    bits = (ctypes.c_uint16 * count).from_address(value.data_ptr()) if count else ()
    return np.array(bits, np.uint16).reshape(shape)


def matrix(scores: list[dict[Any, float]]) -> Any:
    """Return a row for each dict, with the score of each class in the order of the classes."""
    return np.array([list(row.values()) for row in scores], np.float32)


def _texts(model: str, name: str, array: Any) -> Any:
    texts = np.empty(array.shape, dtype=object)
    try:
        texts.reshape(-1)[:] = [
            text.decode() if isinstance(text, bytes) else as_text(text) for text in array.reshape(-1)
        ]
    except UnicodeDecodeError:
        raise InferenceError(f'Model {model}, input "{name}": a text is not UTF-8.') from None
    return texts
