"""JSON text: parses it into plain data, strictly, and writes plain data with numpy arrays in it."""

import json
import math
import operator
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.json_chunks import CHUNK, load_in_chunks
from mlsrv_protocol.json_literals import has_literals, loads_literals
from mlsrv_protocol.json_size import check_json_size
from mlsrv_protocol.large_json import load_arrays
from mlsrv_protocol.plain_arrays import plain_text

Body: TypeAlias = bytes | bytearray | memoryview | str

Array: TypeAlias = npt.NDArray[Any]

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
_LARGE = 1024
_LETTERS = 16
"""Letters "l" of a long text that are looked at one by one, before it is taken for one of words."""
_MAX_DEPTH = 250
"""Levels of nested values from which orjson refuses to write them, about."""


def loads(body: Body) -> Any:
    """Parse a JSON text into plain data.

    Raises:
        InvalidPayload: the text is not JSON in UTF-8, is nested too deep, or holds too many values.
    """
    try:
        if len(body) <= CHUNK:
            return orjson.loads(body)
        body = _bytes(body)
        check_json_size(body)
        return load_in_chunks(body, orjson.loads)
    except orjson.JSONDecodeError as error:
        problem = _problem_of(error)
    raise _not_json(body, problem)


def loads_message(body: Body, tensors: str) -> Any:
    """Parse the JSON text of a message, whose tensors are under the key `tensors`, into plain data. Numeric
    `data` of a large text may become flat numpy arrays.

    The bare literals NaN, Infinity and -Infinity become floats.

    Raises:
        InvalidPayload: the text is not JSON in UTF-8, is nested too deep, or holds too many values for a
            request.
    """
    if len(body) >= _LARGE:
        body = _bytes(body)
        brackets = check_json_size(body) if tensors == "inputs" else None
        message = load_arrays(body, tensors, brackets)
        if message is not None:
            return message
    if len(body) <= CHUNK:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # it may have bare words
    try:
        return load_in_chunks(_bytes(body), _parse)
    except orjson.JSONDecodeError as error:
        problem = _problem_of(error)
    except RecursionError:
        problem = "it is nested too deep"
    raise _not_json(body, problem)


def dumps(data: Any) -> bytes:
    """Write plain data as JSON text. Numpy arrays and messages may be anywhere in it.

    NaN becomes null; in arrays the infinities become "Infinity" and "-Infinity".

    Raises:
        TypeError: a value has no JSON form; the text names its type.
    """
    try:
        text = orjson.dumps(data, default=_default, option=_OPTIONS)
    except TypeError:
        # orjson takes no keys of subclasses of `str`, such as members of enumerations.
        plain = _with_plain_keys(data)
        if plain is data:
            raise
        data = plain
        text = orjson.dumps(data, default=_default, option=_OPTIONS)
    # orjson writes every non-finite number as null, which is right for NaN but not for the infinities.
    has_null = b"null" in text if len(text) < _LARGE else _has_null(text)
    if has_null and any(np.isinf(array).any() for array in _float_arrays(data)):
        return orjson.dumps(data, default=_default_with_infinities)
    return text


def _has_null(text: bytes) -> bool:
    """Return whether a long text has the letters "null"; fast for one of numbers, which have no letters."""
    at = -1
    for _ in range(_LETTERS):
        at = text.find(b"l", at + 1)  # a search for one byte is several times as fast as that for a word
        if at < 0:
            return False
        if text[at - 2 : at + 2] == b"null":
            return True
    return text.find(b"null", at) >= 0


def _with_plain_keys(data: Any, depth: int = 0) -> Any:
    """Return data with plain texts for keys of subclasses of `str`; the same object if there are none."""
    if depth > _MAX_DEPTH:
        return data
    if hasattr(type(data), "to_plain"):
        before = data.to_plain()
        plain = _with_plain_keys(before, depth + 1)
        return data if plain is before else plain
    if isinstance(data, dict):
        made = {plain_text(key): _with_plain_keys(value, depth + 1) for key, value in data.items()}
        same = all(type(key) is str or not isinstance(key, str) for key in data)
        return data if same and all(made[key] is value for key, value in data.items()) else made
    if type(data) in (list, tuple):
        items = [_with_plain_keys(item, depth + 1) for item in data]
        return data if all(map(operator.is_, items, data)) else items
    return data


def _parse(body: bytes) -> Any:
    """Parse a text that may have bare words."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if not has_literals(body):
            raise
    return loads_literals(body)


def _float_arrays(data: Any) -> Iterator[Array]:
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, np.ndarray):
            if value.dtype.kind == "f":
                yield value
        elif isinstance(value, list | tuple | dict):
            inner = value.values() if isinstance(value, dict) else value
            pending.extend([item for item in inner if not isinstance(item, str)])
        elif hasattr(type(value), "to_plain"):
            pending.append(value.to_plain())


def _default(value: Any) -> Any:
    if hasattr(type(value), "to_plain"):  # on the type: parameters answer to any name that a client made up
        return value.to_plain()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, tuple):  # a named one
        return list(value)
    if isinstance(value, float):  # of a subclass, as tuple above
        return float.__float__(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def _default_with_infinities(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and np.isinf(value).any():
            return orjson.Fragment(_with_infinities(value))
        return orjson.Fragment(orjson.dumps(value, default=_default, option=_OPTIONS))
    return _default(value)


def _with_infinities(array: Array) -> bytes:
    """Write an array of floats; orjson writes null for NaN and the infinities alike, so replace each null."""
    words = [
        b"null" if math.isnan(value) else b'"Infinity"' if value > 0 else b'"-Infinity"'
        for value in array[~np.isfinite(array)].tolist()
    ]
    pieces = orjson.dumps(array, option=_OPTIONS).split(b"null")
    joined = [b""] * (2 * len(words) + 1)
    joined[::2] = pieces
    joined[1::2] = words
    return b"".join(joined)


def _problem_of(error: json.JSONDecodeError) -> str:
    return f"{error.msg} at line {error.lineno}, column {error.colno}"


def _bytes(body: Body) -> bytes:
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)


def _not_json(body: Body, problem: str) -> InvalidPayload:
    start = _bytes(body[:3])
    if not start:
        return InvalidPayload("The body is empty; send a JSON object.")
    if start == b"\xef\xbb\xbf":
        return InvalidPayload(
            "The body is not valid JSON: it starts with a byte order mark; send it without."
        )
    if "depth" in problem:
        problem = "it is nested too deep"
    elif "UTF-8" in problem:
        problem = "it is not UTF-8, or a string holds half of a surrogate pair"
    return InvalidPayload(f"The body is not valid JSON: {problem}.")
