"""Validation: the checks that all wire forms share.

Each failure is an `InvalidPayload` whose sentence starts with the field; the caller puts the tensor in front,
such as `inputs[0] "x": `.
"""

import math
from collections.abc import Iterable
from operator import index
from typing import Any

from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.json_size import MAX_STRINGS
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.quoting import clip

MAX_DIMENSIONS = 32
"""The most dimensions of one tensor; the limit of the oldest supported numpy."""
MAX_ELEMENTS = 2**60 - 1
"""The most elements of one tensor, dimensions of 0 not counted; beyond it, byte counts overflow a signed
64-bit integer.
"""
MAX_PARAMETER_DEPTH = 32
"""The most levels of nested arrays and objects in one parameter."""
MAX_PARAMETER_VALUES = 2**16
"""The most values in the parameters of a message or tensor, nested ones included."""

_SHARED_MEMORY = "shared_memory_region"


def check_name(name: object) -> str:
    """Return a tensor's name, a string that is not empty. Raises InvalidPayload."""
    if type(name) is str and name:
        return name
    if isinstance(name, str) and name:
        return str.__str__(name)
    if name is None:
        raise InvalidPayload("name is missing; give each tensor a name.")
    raise InvalidPayload(f"name is {clip(name)}; it must be a string that is not empty.")


def check_unique(names: Iterable[str], group: str) -> None:
    """Check that no two tensors of one list (`inputs` or `outputs`) share a name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidPayload(f"{group} has two tensors called {clip(name)}; names must be unique.")
        seen.add(name)


def as_integers(shape: list[Any]) -> list[int]:
    """Return a shape as Python's integers; a shape that has only such is returned as it is.

    Raises:
        InvalidPayload: a length is not an integer.
    """
    for length in shape:
        if type(length) is not int:
            break
    else:
        return shape
    try:
        return [index(length) for length in shape]
    except TypeError:
        raise InvalidPayload(f"shape is {clip(shape)} with other things than integers in it.") from None


def check_texts(count: int) -> None:
    """Check that the BYTES inputs of a request in a binary form have no more elements together than JSON may
    have strings."""
    if count > MAX_STRINGS:
        raise InvalidPayload(f"the BYTES inputs of a request take {MAX_STRINGS} elements at most.")


def check_shape(shape: object) -> int:
    """Check a tensor's shape, a list of integers, none negative. Nothing is allocated.

    Returns:
        The number of elements: 1 for `[]` (a scalar), 0 when a dimension is 0.
    """
    if type(shape) is not list:
        if shape is None:
            raise InvalidPayload("shape is missing; give the length of each dimension.")
        raise InvalidPayload(f"shape is {clip(shape)}; it must be an array of integers.")
    if len(shape) > MAX_DIMENSIONS:
        raise InvalidPayload(f"shape has {len(shape)} dimensions; at most {MAX_DIMENSIONS} are possible.")
    count = 1
    for length in shape:
        if type(length) is not int or length < 0:
            raise InvalidPayload(
                f"shape contains {clip(length)}; each dimension must be an integer from 0 up."
            )
        count *= length
    if count == 0:
        _check_size(shape)
    elif count > MAX_ELEMENTS:
        raise _too_large(shape)
    return count


def check_count(count: int, shape: list[int], expected: int) -> None:
    """Check that a tensor has as many elements as its shape means."""
    if count != expected:
        has = "1 element" if count == 1 else f"{count} elements"
        raise InvalidPayload(f"data has {has}, but shape {quote_shape(shape)} means {expected}.")


def check_request_parameters(parameters: Parameters) -> None:
    """Refuse requests that belong to a sequence: ignoring the sequence would give a wrong state in silence.

    A `sequence_id` of 0 or "" means that there is no sequence. Source: Triton's sequence extension.
    """
    sequence = parameters.extra.get("sequence_id")
    if sequence is not None and (type(sequence) not in (int, str) or sequence):
        raise InvalidPayload(
            f"parameters.sequence_id is {clip(sequence)}, but sequences are not supported; "
            'leave it out, or send 0 or "".'
        )


def refuse_shared_memory(parameters: Parameters | None) -> None:
    """Refuse a tensor that is to be read from, or written to, shared memory. Raises InvalidPayload."""
    if parameters is not None and _SHARED_MEMORY in parameters.extra:
        raise InvalidPayload(
            f"parameters.{_SHARED_MEMORY} is set, but shared memory is not supported; leave it out."
        )


def check_parameter_values(values: dict[str, Any]) -> None:
    """Check that no parameter is nested deeper than MAX_PARAMETER_DEPTH or holds NaN or an infinity, and that
    there are no more than MAX_PARAMETER_VALUES values."""
    level: list[Any] = [values]
    left = MAX_PARAMETER_VALUES
    for _ in range(MAX_PARAMETER_DEPTH + 1):
        left -= sum(map(len, level))
        if left < 0:
            raise InvalidPayload(
                f"parameters hold more than {MAX_PARAMETER_VALUES} values; send them as a tensor."
            )
        inner = [v for value in level for v in (value.values() if type(value) is dict else value)]
        if any(type(value) is float and not math.isfinite(value) for value in inner):
            raise InvalidPayload(
                "parameters hold NaN or an infinity, which only tensors of floating-point datatypes can."
            )
        level = [value for value in inner if type(value) is dict or type(value) is list]
        if not level:
            return
    raise InvalidPayload(f"parameters are nested more than {MAX_PARAMETER_DEPTH} levels deep; flatten them.")


def quote_shape(shape: list[int]) -> str:
    """Return a shape for error sentences, `[2, 3]`; a long one is cut."""
    shown = ", ".join(clip(length) for length in shape[:8])
    return f"[{shown}, …]" if len(shape) > 8 else f"[{shown}]"


def _check_size(shape: list[int]) -> None:
    size = 1
    for length in shape:
        size *= length or 1
    if size > MAX_ELEMENTS:
        raise _too_large(shape)


def _too_large(shape: list[int]) -> InvalidPayload:
    return InvalidPayload(f"shape {quote_shape(shape)} means more elements than any tensor can have.")
