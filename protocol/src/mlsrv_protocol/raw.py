"""Raw tensor data: the elements as bytes, little-endian, row-major, without padding.

gRPC's raw contents and binary tensors over HTTP both use it. Source: Open Inference Protocol, "Raw tensor
data"; Triton's "Binary Tensor Data Extension" for BYTES.
"""

from collections.abc import Sequence
from struct import Struct
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mlsrv_protocol import strings
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.message import TensorData
from mlsrv_protocol.pieces import pieces_of
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.validation import check_count, quote_shape

Raw: TypeAlias = bytes | memoryview
"""Bytes, or a view of an array's memory; `b"".join` takes both."""

_LENGTH = Struct("<I")
_LONGEST = 2**32 - 1


def from_raw(
    body: bytes | memoryview, start: int, stop: int, datatype: Datatype, shape: list[int], expected: int
) -> TensorData:
    """Return the elements in `body[start:stop]`.

    Numbers are a flat read-only view of `body`, which need not be aligned; BYTES are a list of `bytes`.

    Args:
        body: the memory around the tensor.
        start, stop: the bounds of the tensor in it, in bytes.
        datatype: of the tensor.
        shape: of the tensor, for error sentences.
        expected: the number of elements by the shape.

    Raises:
        InvalidPayload: the size does not fit, or a BOOL is neither 0 nor 1; the sentence does not name the
            tensor.
    """
    if datatype.itemsize is None:
        if expected * 4 > stop - start:
            raise InvalidPayload(
                f"its raw data has {stop - start} bytes, too few for the lengths of {expected} elements."
            )
        elements = _split(body, start, stop)
        check_count(len(elements), shape, expected)
        return elements
    size = expected * datatype.itemsize
    if stop - start != size:
        raise InvalidPayload(
            f"its raw data has {stop - start} bytes, but {datatype} of shape {quote_shape(shape)} takes "
            f"{size}."
        )
    if datatype is Datatype.BOOL:
        return booleans(np.frombuffer(body, np.uint8, expected, start))
    return np.frombuffer(body, datatype.dtype, expected, start)


def texts_from_raw(
    body: bytes | memoryview, start: int, stop: int, shape: list[int], expected: int
) -> tuple[list[int], list[bytes]]:
    """Return the shape and the elements of the BYTES tensor in `body[start:stop]`.

    A shape that counts characters becomes one that counts elements, as `strings.fitting_shape` makes it. The
    arguments are those of `from_raw`, and so is what is raised.
    """
    elements = _split(body, start, stop)
    if len(elements) == expected:
        return shape, elements
    return strings.fitting_shape(elements, shape, expected), elements


def to_raw(data: TensorData, datatype: Datatype, shape: list[int], expected: int) -> Raw:
    """Return the raw data of a tensor, without a copy where possible. The arguments are those of `from_raw`.

    Raises:
        InvalidPayload: the data does not fit the datatype or the shape.
    """
    if datatype is not Datatype.BYTES:
        array = numeric(data, datatype)
        check_count(len(array), shape, expected)
        return array.data
    elements = octets(data)
    check_count(len(elements), shape, expected)
    return b"".join(map(_join, pieces_of(elements)))


def octets(data: TensorData) -> list[bytes]:
    """Return the elements of a BYTES tensor as a flat list of `bytes`; `str` becomes UTF-8.

    Raises:
        InvalidPayload: an element is neither `str` nor `bytes`, or has a lone surrogate.
    """
    try:
        return [value.encode() if isinstance(value, str) else value for value in strings.elements(data)]
    except UnicodeEncodeError:
        raise InvalidPayload("data has a string with a lone surrogate, which UTF-8 cannot carry.") from None


def booleans(octets: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return bytes as a view of booleans.

    Raises:
        InvalidPayload: a byte is neither 0 nor 1.
    """
    if octets.size and octets.max() > 1:
        index = int(np.argmax(octets > 1))
        raise InvalidPayload(f"data[{index}] is {octets[index]}, but BOOL takes only the bytes 0 and 1.")
    return octets.view(np.bool_)


def _join(elements: Sequence[bytes]) -> bytes:
    lengths = list(map(len, elements))
    if max(lengths, default=0) > _LONGEST:
        raise InvalidPayload("data has an element of 4 GiB or more, which no raw form can carry.")
    heads = np.array(lengths, "<u4").tobytes()
    joined = [b""] * (2 * len(elements))
    joined[::2] = [heads[at : at + 4] for at in range(0, len(heads), 4)]
    joined[1::2] = elements
    return b"".join(joined)


def _split(body: bytes | memoryview, start: int, stop: int) -> list[bytes]:
    elements: list[bytes] = []
    read = _LENGTH.unpack_from
    at = start
    while at < stop:
        if stop - at < 4:
            raise InvalidPayload(f"its raw data ends inside the length of element {len(elements)}.")
        at += 4
        end = at + read(body, at - 4)[0]
        if end > stop:
            raise InvalidPayload(f"its raw data ends inside element {len(elements)}.")
        elements.append(bytes(body[at:end]))
        at = end
    return elements
