"""Plain JSON: stands for the compiled package orjson where there is none, with the names that the server's
modules use of it, on the standard library.

It reads and writes the same values; texts of numbers may differ (``1e+16`` for ``1e16``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np

JSONDecodeError = json.JSONDecodeError

OPT_SERIALIZE_NUMPY = 1 << 4

_MAX_DEPTH = 254
_LEAST, _MOST = -(2**63), 2**64 - 1


class Fragment:
    """JSON text that is written as it is."""

    def __init__(self, contents: bytes | str) -> None:
        self.contents = contents.encode() if isinstance(contents, str) else contents


def loads(text: bytes | bytearray | memoryview | str) -> Any:
    """Parse a JSON text.

    Raises:
        JSONDecodeError: it is none, or is not UTF-8.
    """
    try:
        decoded = text if isinstance(text, str) else bytes(text).decode()
        value = json.loads(decoded, parse_constant=_refuse, parse_int=_integer)
        if "\\u" in decoded:
            json.dumps(value, ensure_ascii=False).encode()  # halves of surrogate pairs are no text
    except JSONDecodeError:
        raise
    except RecursionError:
        raise JSONDecodeError("Recursion limit reached", "", 0) from None
    except ValueError as error:
        raise JSONDecodeError(str(error), "", 0) from None
    return value


def dumps(value: Any, default: Callable[[Any], Any] | None = None, option: int | None = None) -> bytes:
    """Write a value as JSON text; NaN and the infinities as null.

    Args:
        value: plain data, and what `default` makes of other values.
        default: returns what is written for a value of another type.
        option: `OPT_SERIALIZE_NUMPY` if arrays and scalars of numpy are written, too.

    Raises:
        TypeError: a value has no JSON form, or is nested too deep.
    """
    return b"".join(_Writer(default, bool((option or 0) & OPT_SERIALIZE_NUMPY)).pieces(value, 0))


def _refuse(word: str) -> Any:
    raise ValueError(f"unexpected {word}")


def _integer(digits: str) -> int | float:
    value = int(digits) if len(digits) < 32 else float(digits)
    return value if _LEAST <= value <= _MOST else float(digits)


class _Writer:
    def __init__(self, default: Callable[[Any], Any] | None, numpy: bool) -> None:
        self._default = default
        self._numpy = numpy

    def pieces(self, value: Any, depth: int) -> Iterator[bytes]:
        if depth > _MAX_DEPTH:
            raise TypeError("Recursion limit reached")
        if isinstance(value, dict):
            yield from self._object(value, depth)
        elif isinstance(value, list) or type(value) is tuple:
            yield from self._array(value, depth)
        elif type(value) is Fragment:
            yield value.contents
        elif (text := _scalar(value)) is not None:
            yield text
        else:
            yield from self.pieces(self._replacement(value), depth + 1)

    def _object(self, value: dict[Any, Any], depth: int) -> Iterator[bytes]:
        yield b"{"
        for index, (key, item) in enumerate(value.items()):
            if type(key) is not str:
                raise TypeError("Dict key must be str")
            yield b"," if index else b""
            yield _text(key)
            yield b":"
            yield from self.pieces(item, depth + 1)
        yield b"}"

    def _array(self, value: Any, depth: int) -> Iterator[bytes]:
        if (text := _numbers(value)) is not None:
            yield text
            return
        yield b"["
        for index, item in enumerate(value):
            yield b"," if index else b""
            yield from self.pieces(item, depth + 1)
        yield b"]"

    def _replacement(self, value: Any) -> Any:
        """Return what is written for a value that is no plain data."""
        if isinstance(value, Enum):
            return value.value
        if is_dataclass(value) and not isinstance(value, type):
            return {each.name: getattr(value, each.name) for each in fields(value) if each.name[0] != "_"}
        if self._numpy and isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
            return _plain(value)
        if self._default is None:
            raise TypeError(f"Type is not JSON serializable: {type(value).__name__}")
        return self._default(value)


def _scalar(value: Any) -> bytes | None:
    """Return the text of a value that is neither an object nor an array; None if it is of another type."""
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, Enum):
        return None
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            raise TypeError("Integer exceeds 64-bit range")
        return int.__repr__(value).encode()
    if type(value) is float:
        return repr(value).encode() if math.isfinite(value) else b"null"
    if isinstance(value, (datetime, date, time)):
        return _text(value.isoformat())
    return _text(str(value)) if isinstance(value, UUID) else None


def _numbers(value: Any) -> bytes | None:
    """Return the text of an array of finite floats, or of integers, in one go; None for others."""
    types = set(map(type, value))
    if types != {float} and (types != {int} or min(value) < _LEAST or max(value) > _MOST):
        return None
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return None


def _text(value: str) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise TypeError("str is not valid UTF-8: surrogates not allowed") from None


def _plain(value: Any) -> Any:
    """Return Python values; floats of few bytes with their shortest digits."""
    if value.dtype.kind != "f" or value.dtype.itemsize == 8:
        return value.tolist()
    digits = [float(str(each)) for each in np.ravel(value)]
    return np.reshape(np.array(digits, float), value.shape).tolist()
