"""JSON literals: parses texts with the bare words NaN, Infinity and -Infinity, which Python's writer makes.

The words become short strings of the same length in the text, which the parser of all other texts takes, and
these become floats in what it returns. Python's own parser, which knows the words, would hold the
interpreter's lock for seconds, and takes what no JSON is.
"""

import math
from typing import Any, Final

import numpy as np
import orjson

from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.pieces import types_of

_MARK: Final = "\x7f"
"""A character that JSON takes as it is, and that texts do not have."""
_FLOATS: Final = {_MARK: math.nan, 2 * _MARK: math.inf, 3 * _MARK: -math.inf}
_WORDS: Final = (
    (b"-Infinity", b'"\x7f\x7f\x7f"    '),
    (b"Infinity", b'"\x7f\x7f"    '),
    (b"NaN", b'"\x7f"'),
)


def has_literals(body: bytes) -> bool:
    """Return whether one of the words is in a text, be it in a string."""
    return b"NaN" in body or b"Infinity" in body


def loads_literals(body: bytes) -> Any:
    """Parse a text with bare words.

    Raises:
        orjson.JSONDecodeError: it is no JSON otherwise.
        InvalidPayload: it holds the control character U+007F, too.
        RecursionError: it is nested too deep.
    """
    if b"\x7f" in body or b"\\u007" in body:
        raise InvalidPayload(
            "The body is not valid JSON: it holds NaN or Infinity outside a string, beside the control "
            'character U+007F; send null, or "Infinity".'
        )
    return _restored(orjson.loads(_marked(body)))


def _marked(body: bytes) -> bytes:
    octets = np.frombuffer(body, np.uint8).copy()
    plain = body.replace(b"\\\\", b"  ").replace(b'\\"', b"  ") if b"\\" in body else body
    quotes = np.flatnonzero(np.frombuffer(plain, np.uint8) == ord('"'))
    for word, mark in _WORDS:
        found = np.flatnonzero(octets[: len(octets) - len(word) + 1] == word[0])
        for at, octet in enumerate(word):
            found = found[octets[found + at] == octet]
        outside = found[np.searchsorted(quotes, found) % 2 == 0]
        octets[outside[:, None] + np.arange(len(word))] = np.frombuffer(mark, np.uint8)
    return octets.tobytes()


def _restored(value: Any) -> Any:
    if type(value) is str:
        return _FLOATS.get(value, value)
    if type(value) is list:
        types = types_of(value)
        if types & {list, dict}:
            return [_restored(item) for item in value]
        return (
            [_FLOATS.get(item, item) if type(item) is str else item for item in value]
            if str in types
            else value
        )
    if type(value) is dict:
        if not _FLOATS.keys().isdisjoint(value):
            raise InvalidPayload("The body is not valid JSON: a key is not a string.")
        return {key: _restored(item) for key, item in value.items()}
    return value
