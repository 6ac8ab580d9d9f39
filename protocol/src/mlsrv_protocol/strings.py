"""The elements of BYTES tensors: strings on the wire, `str` or `bytes` in Python."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import numpy as np

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.tensors import flatten, refuse


def from_json(data: list[Any]) -> list[str]:
    """The elements of a BYTES tensor that came as JSON: strings alone, whatever the nesting.

    Raises:
        InvalidPayload: an element is not a string, or the nesting is ragged.
    """
    leaves, types = flatten(data)
    if types <= {str}:
        return leaves
    refuse(leaves, Datatype.BYTES)


def elements(data: Any) -> list[str | bytes]:
    """The elements of a BYTES tensor that Python code made, flat.

    Args:
        data: (nested) lists or numpy arrays of `str` and `bytes`.

    Raises:
        InvalidPayload: an element is neither, or the nesting is ragged.
    """
    if not isinstance(data, list):
        data = data.tolist() if isinstance(data, np.ndarray) else data
        data = list(data) if isinstance(data, tuple) else data if isinstance(data, list) else [data]
    leaves, types = flatten(data)
    if types <= {str, bytes}:
        return leaves
    return [_element(index, value) for index, value in enumerate(leaves)]


def texts(values: Iterable[str | bytes]) -> tuple[list[str], bool]:
    """Elements as JSON can carry them, and whether that took base64.

    Bytes that are valid UTF-8 become their text. If any element is not, all of them become base64.
    """
    try:
        return [value if isinstance(value, str) else value.decode() for value in values], False
    except UnicodeDecodeError:
        return [
            b64encode(value.encode() if isinstance(value, str) else value).decode() for value in values
        ], True


def _element(index: int, value: Any) -> str | bytes:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise InvalidPayload(f"data[{index}] is {clip(value)}, but BYTES takes only strings and bytes.")
