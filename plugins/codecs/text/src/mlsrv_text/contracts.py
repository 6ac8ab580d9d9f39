"""Contract suites: the contract of codecs tried with texts, binary data and dates, for the tests and for
``mlsrv plugins check``."""

from __future__ import annotations

from datetime import UTC, datetime

from mlsrv import CodecOffer
from mlsrv.codecs.string import StringRequestCodec
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_testing.contracts import InputCodecContract, RequestCodecContract
from mlsrv_text import Base64Codec, DatetimeCodec, StringCodec

NO_TEXTS = [
    RequestInput("x", [1], "INT8", [1]),
    RequestInput("x", [2], "BYTES", ["one"] * 3),
    RequestInput("x", [2, 2], "BYTES", ["a", "b", "c", "d"]),
]
TEXTS = [["a", ""], ["é😀", "\x00", "a long text" * 100]]


class TestStringCodec(InputCodecContract):
    codec = StringCodec
    samples = TEXTS
    garbage = (
        *NO_TEXTS,
        RequestInput("x", [1], "BYTES", [b"\xff"]),
    )


class TestStringRequestCodec(RequestCodecContract):
    codec = StringRequestCodec
    offers = (CodecOffer("str", StringCodec),)
    samples = TEXTS
    garbage = (
        *(InferenceRequest(inputs=[tensor]) for tensor in NO_TEXTS),
        InferenceRequest(inputs=[]),
    )


class TestBase64Codec(InputCodecContract):
    codec = Base64Codec
    samples = (
        [b"a", b""],
        [bytes(range(256))],
    )
    garbage = (
        *NO_TEXTS,
        RequestInput("x", [1], "BYTES", ["%"]),
        RequestInput("x", [1], "BYTES", ["abc"]),
    )


class TestDatetimeCodec(InputCodecContract):
    codec = DatetimeCodec
    samples = (
        [datetime(2022, 1, 11, 11)],
        [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)],
    )
    garbage = (
        *NO_TEXTS,
        RequestInput("x", [1], "BYTES", ["yesterday"]),
    )
