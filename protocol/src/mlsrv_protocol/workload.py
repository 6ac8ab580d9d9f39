"""Workload: whether a value holds so much that converting it would hold others up.

What counts is what is converted one by one: the elements of lists, the entries of objects, tensors. The bytes
of a long text or of an array are copied as a whole.
"""

from typing import Any, Final

import numpy as np

from mlsrv_protocol.inference import InferenceRequest, InferenceResponse

MANY_VALUES: Final = 2**15
"""Values whose conversion takes some milliseconds."""

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
