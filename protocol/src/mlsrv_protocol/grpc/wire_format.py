"""Wire format: reads and writes the parts of protocol buffers that inference messages use.

Protobuf's own objects copy each tensor twice before numpy can see it, and more often on the way out. Reading
the few fields by hand leaves large tensors where they are, and costs a small request a few microseconds.
Source: "Encoding", protobuf.dev.
"""

from collections.abc import Iterator, Sequence

from mlsrv_protocol.errors import InvalidPayload

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

MAX_FIELDS = 100_000
"""The most fields of one message; bounds the work for a message of many tiny fields."""

_WORD = 2**64 - 1
_SMALL = [bytes((size,)) for size in range(128)]


class Malformed(InvalidPayload):
    """The bytes are not a message."""


def fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the fields of the message in `body[at:end]` as (tag, a, b).

    The tag is the field's number times 8 plus its wire type. Of a varint, `a` is the unsigned value;
    of any other field `body[a:b]` is the content.

    Raises:
        Malformed: the bytes are not a message.
    """
    try:
        for _ in range(MAX_FIELDS):
            if at == end:
                return
            tag, size = body[at], body[at + 1]
            if tag & 0x87 == LENGTH and size < 128:  # most fields: a low number, a short content
                found = tag, at + 2, at + 2 + size
                at += 2 + size
            else:
                found, at = _field(body, at)
            if at > end:
                raise Malformed("it is cut off.")
            yield found
    except IndexError:
        raise Malformed("it is cut off.") from None
    raise Malformed(f"it has more than {MAX_FIELDS} fields.")


def _field(body: bytes, at: int) -> tuple[tuple[int, int, int], int]:
    """Return the field at `at`, and the position behind it; raises as `read_varint`."""
    tag, at = read_varint(body, at)
    kind = tag & 7
    if kind == LENGTH:
        size, at = read_varint(body, at)
        return (tag, at, at + size), at + size
    if kind == VARINT:
        value, at = read_varint(body, at)
        return (tag, value, 0), at
    if kind in (FIXED64, FIXED32):
        size = 8 if kind == FIXED64 else 4
        return (tag, at, at + size), at + size
    raise Malformed("a field has an unknown wire type.")


def read_varint(body: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned 64-bit integer at `at`, and the position behind it.

    Raises:
        Malformed: it has more than 64 bits.
        IndexError: the body ends inside it.
    """
    byte = body[at]
    at += 1
    if byte < 128:
        return byte, at
    value = byte & 127
    for shift in range(7, 70, 7):
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & _WORD, at
    raise Malformed("a number has more than 64 bits.")


def numbers(body: bytes, start: int, stop: int) -> list[int]:
    """Return the unsigned integers of a packed field of varints. Raises Malformed."""
    content = body[start:stop]
    if content.isascii():  # all are below 128 and take a byte each
        return list(content)
    found = []
    try:
        while start < stop:
            value, start = read_varint(body, start)
            found.append(value)
    except IndexError:
        start = -1
    if start != stop:
        raise Malformed("it is cut off.")
    return found


def signed(value: int) -> int:
    """Return an unsigned 64-bit integer read as two's complement."""
    return value - 2**64 if value >> 63 else value


def text(body: bytes, start: int, stop: int) -> str:
    """Return the value of a field of type string. Raises Malformed."""
    try:
        return body[start:stop].decode()
    except UnicodeDecodeError:
        raise Malformed("a string is not valid UTF-8.") from None


def varint(value: int) -> bytes:
    """Encode an unsigned integer of at most 64 bits."""
    if value < 128:
        return _SMALL[value]
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def packed(values: Sequence[int]) -> bytes:
    """Encode the content of a packed field of varints, none of them negative."""
    return bytes(values) if max(values, default=0) < 128 else b"".join(map(varint, values))


def utf8(value: str) -> bytes:
    """Encode the content of a field of type string.

    Raises:
        InvalidPayload: the text has a lone surrogate.
    """
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidPayload("a string has a lone surrogate, which UTF-8 cannot carry.") from None


def len_header(tag: int, size: int) -> bytes:
    """Encode tag and length of a field of wire type LEN with `size` bytes; `tag` is below 128."""
    return _SMALL[tag] + varint(size)


def len_field(tag: int, content: bytes) -> bytes:
    """Encode a field of wire type LEN; `tag` is below 128."""
    size = len(content)
    return _SMALL[tag] + (_SMALL[size] if size < 128 else varint(size)) + content
