"""Array conversion: between tensors of the protocol and numpy arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mlsrv.errors import CodecError
from mlsrv_protocol.datatypes import Datatype, bf16_to_float32
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.plain_arrays import plain_array, plain_text
from mlsrv_protocol.tensors import flatten, numeric
from mlsrv_protocol.types import RequestInput, ResponseOutput

Array: TypeAlias = npt.NDArray[Any]

_TEXT_KINDS = "OSUT"
_TEXTS = {str, bytes}
_EXACT = 2**53
"""Up to here a double holds every integer."""


def from_tensor(tensor: RequestInput | ResponseOutput) -> Array:
    """Return the array of a tensor, in the tensor's shape. Raises `CodecError`."""
    try:
        if tensor.datatype is Datatype.BYTES:
            flat = _texts(tensor.data)
        else:
            flat = numeric(tensor.data, tensor.datatype)
    except InvalidPayload as error:
        raise _refused(tensor.name, error) from None
    if tensor.datatype is Datatype.BF16:
        flat = bf16_to_float32(flat)
    try:
        return flat.reshape(tensor.shape)
    except ValueError:
        count = "1 element" if flat.size == 1 else f"{flat.size} elements"
        what = f"data has {count}, which do not fill the shape {tensor.shape}."
        raise _refused(tensor.name, what) from None


def to_tensor(name: str, payload: Any) -> tuple[list[int], Datatype, Any]:
    """Return the shape, the datatype and the flat data of an array. Raises `CodecError`."""
    try:
        array = plain_array(payload)
        shape = list(array.shape) if array.ndim > 1 else [array.size, 1] if array.ndim else [1]
        if array.dtype.kind in _TEXT_KINDS:
            datatype, data = _from_objects(array.reshape(-1).tolist())
            return shape, datatype, data
        datatype = Datatype.from_numpy(array.dtype)
    except InvalidPayload as error:
        raise _refused(name, error) from None
    except ValueError:
        raise _refused(name, "the values are ragged; make all rows of the same length.") from None
    if datatype is Datatype.BF16:
        array = array.view(np.uint16)
    return shape, datatype, np.ascontiguousarray(array, datatype.dtype).reshape(-1)


def _texts(data: Any) -> Array:
    if isinstance(data, str | bytes):
        data = [data]
    if not isinstance(data, list):
        return np.asarray(data, dtype=object).reshape(-1)
    leaves, _ = flatten(data)
    # Filled and not np.array(leaves): that would pad or cut the elements to one length.
    texts = np.empty(len(leaves), dtype=object)
    texts[:] = leaves
    return texts


def _from_objects(elements: list[Any]) -> tuple[Datatype, Any]:
    """Return the data of an object array: texts unchanged, booleans and numbers in the datatype they belong
    to."""
    kinds = set(map(type, elements))
    if kinds <= _TEXTS:
        return Datatype.BYTES, elements
    elements = [_plain(element) for element in elements]
    kinds = set(map(type, elements))
    if kinds <= _TEXTS:
        return Datatype.BYTES, elements
    if kinds == {bool}:
        return Datatype.BOOL, numeric(elements, Datatype.BOOL)
    if kinds == {int}:
        return Datatype.INT64, numeric(elements, Datatype.INT64)
    if kinds <= {int, float}:
        for index, element in enumerate(elements):
            if type(element) is int and not -_EXACT <= element <= _EXACT:
                raise InvalidPayload(
                    f"element {index} of the object array is {str(element)[:60]}, which FP64 would "
                    "round beside floating-point numbers; send it in an array of integers."
                )
        return Datatype.FP64, numeric(elements, Datatype.FP64)
    index = next(i for i, element in enumerate(elements) if type(element) not in _TEXTS)
    raise InvalidPayload(
        f"element {index} of the object array is a {type(elements[index]).__name__}, which no datatype holds "
        "together with the others; convert the array to numbers, booleans or texts."
    )


def _plain(element: Any) -> Any:
    return element.item() if isinstance(element, np.generic) else plain_text(element)


def _refused(name: str, why: object) -> CodecError:
    return CodecError(f'Tensor "{name}": {why}')
