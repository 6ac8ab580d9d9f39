"""Values: converts between tensors of requests and values of ONNX Runtime."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import onnxruntime

from mlsrv.errors import InferenceError
from mlsrv.types import Datatype, MetadataTensor, Parameters, ResponseOutput
from mlsrv_protocol.plain_arrays import as_text

_Tensor = TypeVar("_Tensor", MetadataTensor, ResponseOutput)

_BFLOAT16 = 16
"""ONNX's number of the type (onnx.proto, TensorProto.DataType)."""


def fitted(model: str, declared: MetadataTensor, data: Any, any_rank: bool = False) -> Any:
    """Return the array that a graph takes for an input.

    Args:
        model: its name, for messages.
        declared: the graph's input; a column may come as ``[n]`` or ``[n, 1]``.
        data: the decoded input; BF16 as bit patterns in uint16.
        any_rank: whether the graph leaves the number of dimensions open.

    Raises:
        InferenceError: texts that are not UTF-8, or an array of another shape.
    """
    is_text = declared.datatype is Datatype.BYTES
    array = np.asarray(data, dtype=object if is_text else None, order="C")
    wanted = declared.shape
    if any_rank:
        return _texts(model, declared.name, array) if is_text else array
    if array.ndim == 1 and len(wanted) == 2 and wanted[1] in (1, -1):
        array = array.reshape(-1, 1)
    elif len(wanted) == 1 and array.shape[1:] == (1,):
        array = array.reshape(-1)
    sizes = zip(array.shape, wanted, strict=False)
    if array.ndim != len(wanted) or any(length not in (-1, size) for size, length in sizes):
        raise InferenceError(
            f'Model {model}, input "{declared.name}": shape {list(array.shape)} was sent, the model takes '
            f"{list(wanted)} (-1 is any size)."
        )
    return _texts(model, declared.name, array) if is_text else array


def check_symbols(model: str, names: Mapping[str, Sequence[str | None]], arrays: Mapping[str, Any]) -> None:
    """Check that sizes to which the graph gives one name are equal.

    Args:
        model: its name, for messages.
        names: of the sizes of each input, see `mlsrv_onnx.graph.symbols`.
        arrays: the inputs of one request.

    Raises:
        InferenceError: two inputs differ in a size of one name.
    """
    known: dict[str, tuple[int, str]] = {}
    for name, array in arrays.items():
        for symbol, size in zip(names.get(name, ()), array.shape, strict=False):
            if symbol is None:
                continue
            first, where = known.setdefault(symbol, (size, name))
            if size != first:
                raise InferenceError(
                    f'Model {model}, input "{name}": shape {list(array.shape)} was sent, where {symbol} is '
                    f'{size}, but in the input "{where}" {symbol} is {first}; the model takes equal sizes.'
                )


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


def matrix(scores: list[dict[Any, float]], classes: int) -> Any:
    """Return a row for each dict, with the score of each class in the order of the classes.

    Args:
        scores: of the classes by label, for each row.
        classes: how many there are; 0 if that is unknown.
    """
    if not scores:
        return np.empty((0, classes), np.float32)
    return np.array([list(row.values()) for row in scores], np.float32)


def with_labels(tensor: _Tensor, labels: Sequence[str]) -> _Tensor:
    """Return an output, or its metadata, with the labels of its columns as the parameter ``labels``, if there
    are any."""
    if labels:
        tensor.parameters = tensor.parameters or Parameters()
        tensor.parameters.extra["labels"] = list(labels)
    return tensor


def _texts(model: str, name: str, array: Any) -> Any:
    texts = np.empty(array.shape, dtype=object)
    try:
        texts.reshape(-1)[:] = [
            text.decode() if isinstance(text, bytes) else as_text(text) for text in array.reshape(-1)
        ]
    except UnicodeDecodeError:
        raise InferenceError(f'Model {model}, input "{name}": a text is not UTF-8.') from None
    return texts
