"""Strings: the elements of BYTES tensors, `str` or `bytes` in Python."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import numpy as np

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.tensors import flatten, refuse
from mlsrv_protocol.validation import check_count


class BareText(list[str]):
    """The data of a BYTES tensor that was one JSON string instead of an array: a list of this one text.

    MLServer takes such data, and its manual shows it, with a shape that counts characters or none at all. The
    shape of the tensor stays what was sent, for a codec that gives it a meaning.
    """

    @property
    def __root__(self) -> str:
        """The text; codecs written for MLServer read this attribute."""
        return self[0]


def fitting_shape(data: Any, shape: list[int], expected: int) -> list[int]:
    """Return the shape of a BYTES tensor by the number of its elements, where its shape counts characters.

    MLServer's manual describes texts so: `[11]` for one text of 11 characters, `[2, 11]` for two texts. Such
    a shape becomes `[1]` and `[2]`; so does any shape of data that is not a list. A shape that fits stays.

    Raises:
        InvalidPayload: the shape counts neither the elements nor their characters.
    """
    bare = isinstance(data, str | bytes | BareText)
    found = elements(data)
    count = len(found)
    if count == expected:
        return shape
    if count == 1 and (bare or expected in (len(found[0]), len(_octets(found[0])))):
        return [1]
    if len(shape) > 1 and count == shape[0]:
        return [count]
    check_count(count, shape, expected)
    return shape


def from_json(data: list[Any]) -> list[str]:
    """Return the elements of a BYTES tensor from JSON as a flat list; only strings are allowed.

    Raises:
        InvalidPayload: an element is not a string, or the nesting is ragged.
    """
    leaves, types = flatten(data)
    if types <= {str}:
        return leaves
    refuse(leaves, Datatype.BYTES)


def elements(data: Any) -> list[str | bytes]:
    """Return the elements of a BYTES tensor from Python code as a flat list.

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
    """Return the elements as texts for JSON, and whether they are base64.

    Bytes that are valid UTF-8 become their text. If any element is not, all of them become base64.
    """
    try:
        return [value if isinstance(value, str) else value.decode() for value in values], False
    except UnicodeDecodeError:
        return [
            b64encode(value.encode() if isinstance(value, str) else value).decode() for value in values
        ], True


def _octets(value: str | bytes) -> bytes:
    return value.encode(errors="replace") if isinstance(value, str) else value


def _element(index: int, value: Any) -> str | bytes:
    if isinstance(value, str):
        return str.__str__(value)  # not str(), which of an enumeration's member is its name
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise InvalidPayload(f"data[{index}] is {clip(value)}, but BYTES takes only strings and bytes.")
