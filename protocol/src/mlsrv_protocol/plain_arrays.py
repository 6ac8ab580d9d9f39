"""Plain arrays: what numpy, pandas and scikit-learn hand out, as arrays of the base class without masks.

Every way of a tensor out of a process passes here: the wire forms, the codecs, the runtimes, and the channel
to worker processes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv_protocol.errors import InvalidPayload

_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})


def plain_array(values: Any) -> npt.NDArray[Any]:
    """Return values as `numpy.asarray` does, but never the values under a mask.

    Masked elements of floating-point arrays become NaN, which JSON writes as null. In lists, texts of a
    subclass of `str`, such as members of an enumeration, count by their value.

    Args:
        values: an array of any class, a scalar, or (nested) lists of them.

    Raises:
        InvalidPayload: an element is masked, and the type of the array has no missing value.
        ValueError: nested lists are ragged.
    """
    if type(values) is np.ndarray:
        return values
    if isinstance(values, np.ma.MaskedArray):
        return _filled(values)
    if isinstance(values, list | tuple):
        values = _plain_list(values)
    elif isinstance(values, str):
        values = str.__str__(values)
    return np.asarray(values)


def plain_text(value: Any) -> Any:
    """Return a text of a subclass of `str`, such as a member of an enumeration, as the plain text of its
    value; anything else as it is."""
    return value if type(value) is str or not isinstance(value, str) else str.__str__(value)


def as_text(value: Any) -> str:
    """Return a label as a text: a text by its value, anything else as `str` writes it."""
    return str.__str__(value) if isinstance(value, str) else str(value)


def _plain_list(values: Any) -> Any:
    types = set(map(type, values))
    if types <= _PLAIN:
        return values
    return [_plain_element(value) for value in values]


def _plain_element(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return _plain_list(value)
    if isinstance(value, np.ma.MaskedArray):
        return _filled(value)
    return plain_text(value)


def _filled(array: Any) -> npt.NDArray[Any]:
    mask = np.ma.getmaskarray(array)
    if array.dtype.names is not None or not mask.any():
        return np.asarray(array.data)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return np.asarray(array.filled(np.nan))
    first = int(np.argmax(mask.reshape(-1)))
    raise InvalidPayload(
        f"data[{first}] is masked, and {array.dtype} has no missing value; fill the masked elements, or "
        "convert the array to floating-point numbers."
    )
