"""JSON size: bounds how many values a JSON text may hold, before it is parsed.

A container of two bytes becomes an object of 60 bytes and more, which the garbage collector visits too, so
that the bytes of a text alone bound neither the memory nor the time that it takes.
"""

from typing import Final

import numpy as np

from mlsrv_protocol.errors import InvalidPayload

MAX_CONTAINERS: Final = 2**20
"""The most arrays and objects of one text."""
MAX_KEYS: Final = 2**18
"""The most keys of all objects of one text, counted by the colons after them."""
MAX_VALUES: Final = 2**25
"""The most values of one text, counted by the commas between them."""

MAX_STRINGS: Final = 2**22
"""The most strings of one text, keys among them."""

_PIECE: Final = 2**18
_LONG: Final = 2**14
_SHORTEST: Final = min(2 * MAX_CONTAINERS, 4 * MAX_KEYS)


def check_json_size(text: bytes | bytearray | memoryview) -> int | None:
    """Check that a JSON text holds no more than `MAX_CONTAINERS` arrays and objects, `MAX_KEYS` keys,
    `MAX_VALUES` values and `MAX_STRINGS` strings.

    The time is that of a few searches for a byte. What is inside strings does not count.

    Returns:
        How many opening brackets ``[`` there are, those inside strings included; None for a text that is too
        short to hold that much, which is not searched.

    Raises:
        InvalidPayload: it holds more.
    """
    size = len(text)
    if size < _SHORTEST:
        return None
    brackets = count_byte(text, b"[")
    if (
        brackets + count_byte(text, b"{") > MAX_CONTAINERS
        or count_byte(text, b":") > MAX_KEYS
        or (size > MAX_VALUES and count_byte(text, b",") > MAX_VALUES)
        or (size > 3 * MAX_STRINGS and count_byte(text, b'"') > 2 * MAX_STRINGS)
    ):
        _check_outside_strings(memoryview(text))
    return brackets


def count_byte(text: bytes | bytearray | memoryview, byte: bytes) -> int:
    """Return how often a byte is in a text; for long texts several times as fast as `bytes.count`."""
    if len(text) < _LONG and not isinstance(text, memoryview):
        return text.count(byte)
    octets, wanted = np.frombuffer(text, np.uint8), ord(byte)
    pieces = range(0, len(octets), _PIECE)  # that stay in the processor's cache
    return sum(int(np.count_nonzero(octets[start : start + _PIECE] == wanted)) for start in pieces)


def _check_outside_strings(view: memoryview) -> None:
    containers = keys = values = quotes = 0
    inside, carry = False, b""
    for start in range(0, len(view), _PIECE):
        piece = carry + bytes(view[start : start + _PIECE])
        escapes = len(piece) - len(piece.rstrip(b"\\"))
        # An escape that is cut in two belongs to the next piece.
        carry = b"\\" if escapes % 2 else b""
        if carry:
            piece = piece[:-1]
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[1 if inside else 0 :: 2])
        inside ^= len(parts) % 2 == 0
        quotes += len(parts) - 1
        containers += outside.count(b"[") + outside.count(b"{")
        keys += outside.count(b":")
        values += outside.count(b",")
        if containers > MAX_CONTAINERS:
            raise InvalidPayload(
                f"The JSON text has more than {MAX_CONTAINERS} arrays and objects; send flat data, "
                "or binary tensors."
            )
        if keys > MAX_KEYS:
            raise InvalidPayload(f"The JSON text has more than {MAX_KEYS} keys; send fewer objects.")
        if values > MAX_VALUES:
            raise InvalidPayload(f"The JSON text has more than {MAX_VALUES} values; send binary tensors.")
        if quotes > 2 * MAX_STRINGS:
            raise InvalidPayload(f"The JSON text has more than {MAX_STRINGS} strings; send binary tensors.")
