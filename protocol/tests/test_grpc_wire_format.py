"""Wire format of protocol buffers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.grpc.wire_format import (
    MAX_FIELDS,
    Malformed,
    fields,
    len_field,
    numbers,
    read_varint,
    signed,
    text,
    utf8,
    varint,
)


@given(st.integers(0, 2**64 - 1))
def test_a_varint_survives_a_round_trip(value: int) -> None:
    encoded = varint(value)
    assert read_varint(b"x" + encoded + b"y", 1) == (value, 1 + len(encoded))


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (2**63 - 1, 2**63 - 1), (2**63, -(2**63)), (2**64 - 1, -1)]
)
def test_signed_numbers(value: int, expected: int) -> None:
    assert signed(value) == expected


def test_the_fields_of_a_message() -> None:
    body = b"\x08\x96\x01" + len_field(0x12, b"ab") + b"\x1d1234" + b"\x2112345678" + b"\x82\x01\x01z"
    assert list(fields(body, 0, len(body))) == [
        (0x08, 150, 0),
        (0x12, 5, 7),
        (0x1D, 8, 12),
        (0x21, 13, 21),
        (0x82, 24, 25),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"\x08",
        b"\x08\x96",
        b"\x12",
        b"\x12\x05ab",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x1d123",
        b"\x211234567",
        b"\x0b",
        b"\x0c",
        b"\x0f",
        b"\x08" + b"\xff" * 11,
        b"\xff" * 11,
    ],
)
def test_bytes_that_are_not_a_message_are_malformed(body: bytes) -> None:
    with pytest.raises(Malformed, match=r"\.$"):
        list(fields(body, 0, len(body)))


def test_packed_numbers() -> None:
    assert numbers(b"x\x01\x96\x01y", 1, 4) == [1, 150]
    for end in (2, 3):
        with pytest.raises(Malformed, match="cut off"):
            numbers(b"x\x96\x96"[:end], 1, end)
    with pytest.raises(Malformed, match="cut off"):
        numbers(b"x\x96\x01", 1, 2)


def test_a_varint_ends_within_its_message() -> None:
    with pytest.raises(Malformed, match="cut off"):
        list(fields(b"\x08\x96\x01", 0, 2))


def test_the_number_of_fields_is_bounded() -> None:
    body = b"\x08\x01" * (MAX_FIELDS + 1)
    with pytest.raises(Malformed, match="more than"):
        list(fields(body, 0, len(body)))


def test_text_is_utf8_both_ways() -> None:
    assert text(utf8("naïve"), 0, 6) == "naïve"
    with pytest.raises(Malformed, match="UTF-8"):
        text(b"\xff", 0, 1)
    with pytest.raises(InvalidPayload, match="surrogate"):
        utf8("\ud800")
