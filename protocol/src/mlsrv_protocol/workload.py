"""Workload: how much a value holds, and whether converting it would hold others up.

What counts is what is converted one by one: the elements of lists, the entries of objects, tensors. The bytes
of a long text or of an array are copied as a whole.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from mlsrv_protocol.inference import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlsrv_protocol.pieces import PIECE, pieces_of

MANY_VALUES: Final = 2**15
"""Values whose conversion takes some milliseconds."""

POINTER: Final = 8
"""Bytes that an element of a list counts beside its text."""

_PER_TENSOR: Final = 16


def holds_many_values(value: Any) -> bool:
    """Return whether a value holds `MANY_VALUES` or more, in lists, tuples, dicts and arrays of any depth. It
    looks at no more than that."""
    pending, count = [value], 0
    while pending:
        found = pending.pop()
        if isinstance(found, np.ndarray):
            count += found.size
        elif isinstance(found, list | tuple | dict | set):
            count += len(found)
        if count >= MANY_VALUES:
            return True
        if isinstance(found, dict):
            pending.extend(found.values())
        elif isinstance(found, list | tuple):
            pending.extend([item for item in found if isinstance(item, list | tuple | dict | np.ndarray)])
    return False


def is_large(message: InferenceRequest | InferenceResponse, *, as_text: bool = False) -> bool:
    """Return whether a message has so many tensors, or elements in lists, that converting it takes long.

    Args:
        message: of any origin, with any data.
        as_text: whether each number of an array is converted, too, as JSON does.
    """
    tensors = message.inputs if isinstance(message, InferenceRequest) else message.outputs
    wanted = message.outputs if isinstance(message, InferenceRequest) else None
    count = _PER_TENSOR * len(tensors) + len(wanted or ())
    for tensor in tensors:
        data = tensor.data
        if isinstance(data, np.ndarray):
            count += data.size if as_text or data.dtype.kind in "OSUT" else 0
        elif isinstance(data, list | tuple) and data and isinstance(data[0], list | tuple | np.ndarray):
            count += MANY_VALUES if holds_many_values(data) else len(data)
        elif isinstance(data, list | tuple):
            count += len(data)
        if count >= MANY_VALUES:
            return True
    return count >= MANY_VALUES


def size_of(tensors: Iterable[RequestInput | ResponseOutput]) -> int | None:
    """Bytes of the data of tensors: of numbers what they take in memory, of texts their lengths and a pointer
    each. Names, shapes and parameters count nothing.

    Returns:
        None where a list is so long that it should be `size_in_turns` that counts.
    """
    size = 0
    for tensor in tensors:
        data = tensor.data
        if isinstance(data, np.ndarray):
            size += data.nbytes
        elif isinstance(data, list) and len(data) > PIECE:
            return None
        else:
            size += _size_of_list(data)
    return size


async def size_in_turns(tensors: Iterable[RequestInput | ResponseOutput]) -> int:
    """Return what `size_of` does, for lists of any length: others have their turn on the event loop between
    parts of them."""
    size = 0
    for data in [tensor.data for tensor in tensors]:
        if isinstance(data, np.ndarray):
            size += data.nbytes
            continue
        for piece in pieces_of(data) if isinstance(data, list) else (data,):
            size += _size_of_list(piece)
            if piece is not data:
                await asyncio.sleep(0)
    return size


def _size_of_list(data: Any) -> int:
    if isinstance(data, memoryview):  # whose rows have no lengths, if it has several dimensions
        return data.nbytes
    try:
        return POINTER * len(data) + sum(map(len, data))
    except TypeError:  # numbers, which Python code may give as a list or alone
        return POINTER * len(data) if isinstance(data, list | tuple) else POINTER
