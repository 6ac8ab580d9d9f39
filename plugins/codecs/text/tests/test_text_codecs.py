"""StringCodec, Base64Codec, DatetimeCodec: what they take, what they refuse, and round trips through JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv.codecs import InputCodec
from mlsrv.codecs.content import DecodedInput
from mlsrv.errors import Code, CodecError
from mlsrv_protocol import json
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestInput
from mlsrv_text import Base64Codec, DatetimeCodec, StringCodec, StringRequestCodec

CODECS = [StringCodec, Base64Codec, DatetimeCodec]


def tensor(data: Any, shape: list[int] | None = None, datatype: str = "BYTES") -> RequestInput:
    return RequestInput("x", [len(data)] if shape is None else shape, datatype, data)


def through_json(codec: type[InputCodec], payload: Any, **options: Any) -> Any:
    """Encode, write, read, decode: as a request and as a response."""
    request = InferenceRequest(inputs=[codec.encode_input("x", payload, **options)])
    (received,) = json.decode_request(json.encode_request(request)).inputs
    assert received.parameters is not None
    assert received.parameters.content_type == codec.ContentType
    response = InferenceResponse(model_name="m", outputs=[codec.encode_output("y", payload, **options)])
    (answered,) = json.decode_response(json.encode_response(response)).outputs
    decoded = codec.decode_input(received)
    assert codec.decode_output(answered) == decoded
    return decoded


# --- round trips --------------------------------------------------------------------------------------------

utf8 = st.text(st.characters(exclude_categories=["Cs"]))
offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
dates = st.datetimes() | st.datetimes(timezones=offsets) | st.datetimes(timezones=st.just(UTC))


@given(st.lists(utf8), st.booleans())
def test_texts_survive_a_round_trip(payload: list[str], use_bytes: bool) -> None:
    assert through_json(StringCodec, payload, use_bytes=use_bytes) == payload


@given(st.lists(st.binary()), st.booleans())
def test_bytes_survive_a_round_trip(payload: list[bytes], use_bytes: bool) -> None:
    assert through_json(Base64Codec, payload, use_bytes=use_bytes) == payload


@given(st.lists(dates), st.booleans())
def test_dates_survive_a_round_trip(payload: list[datetime], use_bytes: bool) -> None:
    found = through_json(DatetimeCodec, payload, use_bytes=use_bytes)
    assert found == payload
    assert [date.utcoffset() for date in found] == [date.utcoffset() for date in payload]


@given(st.lists(utf8))
def test_whole_requests_and_responses_survive_a_round_trip(payload: list[str]) -> None:
    request = json.decode_request(json.encode_request(StringRequestCodec.encode_request(payload)))
    assert [given.name for given in request.inputs] == ["input-1"]
    assert StringRequestCodec.decode_request(request) == payload
    response = StringRequestCodec.encode_response("m", payload, "v1")
    response = json.decode_response(json.encode_response(response))
    assert (response.model_name, response.model_version) == ("m", "v1")
    assert [given.name for given in response.outputs] == ["output-1"]
    assert StringRequestCodec.decode_response(response) == payload


# --- encoding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "payload", "shape", "data"),
    [
        (StringCodec, ["a", "é"], [2, 1], [b"a", "é".encode()]),
        (StringCodec, "one", [1, 1], [b"one"]),
        (StringCodec, [np.str_("a"), b"b"], [2, 1], [b"a", b"b"]),
        (StringCodec, [], [0, 1], []),
        (StringCodec, ("a", "b"), [2, 1], [b"a", b"b"]),
        (StringCodec, np.array(["a", "b"]), [2, 1], [b"a", b"b"]),
        (Base64Codec, b"\xff", [1, 1], [b"/w=="]),
        (Base64Codec, [b"abc", bytearray(b"\x00"), "text"], [3, 1], [b"YWJj", b"AA==", b"dGV4dA=="]),
        (DatetimeCodec, datetime(2022, 1, 11, 11, 0), [1, 1], [b"2022-01-11T11:00:00"]),
        (DatetimeCodec, ["2022-01-11T11:00:00Z"], [1, 1], [b"2022-01-11T11:00:00Z"]),
    ],
)
def test_encoded_data(codec: type[InputCodec], payload: Any, shape: list[int], data: list[bytes]) -> None:
    for made in (codec.encode_input("x", payload), codec.encode_output("x", payload)):
        assert (made.name, made.shape, made.datatype, made.data) == ("x", shape, "BYTES", data)
        assert made.parameters is not None
        assert made.parameters.dict() == {"content_type": codec.ContentType}
    texts = codec.encode_input("x", payload, use_bytes=False).data
    assert texts == [element.decode() for element in data]


@pytest.mark.parametrize(
    ("codec", "payload", "sentence"),
    [
        (StringCodec, ["a", None], 'Tensor "x": element 1: a NoneType, not a text.'),
        (StringCodec, [1], "element 0: a int, not a text"),
        (StringCodec, b"raw", 'the content type "str" cannot hold a bytes'),
        (StringCodec, 7, 'the content type "str" cannot hold a int'),
        (StringCodec, [b"\xff"], "element 0: not UTF-8"),
        (StringCodec, ["\ud800"], "element 0: characters that UTF-8 cannot hold"),
        (Base64Codec, [1], "element 0: a int, not bytes"),
        (DatetimeCodec, ["yesterday"], "element 0: not a date of ISO 8601"),
        (DatetimeCodec, [1.5], "element 0: a float, not a date"),
        (DatetimeCodec, [None], "element 0: a NoneType, not a date"),
    ],
)
def test_other_values_are_not_encoded(codec: type[InputCodec], payload: Any, sentence: str) -> None:
    for encode in (codec.encode_input, codec.encode_output):
        with pytest.raises(CodecError, match=sentence):
            encode("x", payload)


def test_payloads_that_each_codec_claims() -> None:
    claims = {
        codec: [payload for payload in PAYLOADS if codec.can_encode(payload)]
        for codec in (*CODECS, StringRequestCodec)
    }
    assert claims[StringCodec] == claims[StringRequestCodec] == [["a"], "a", []]
    assert claims[Base64Codec] == [[b"a"], b"a"]
    assert claims[DatetimeCodec] == [[datetime(2022, 1, 1)], datetime(2022, 1, 1)]


PAYLOADS: list[Any] = [
    ["a"],
    "a",
    [],
    [b"a"],
    b"a",
    [datetime(2022, 1, 1)],
    datetime(2022, 1, 1),
    [1],
    ["a", b"b"],
    ["a", None],
    {"a": 1},
    None,
]


# --- decoding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2], [1, 2, 1]])
def test_any_orientation_of_a_vector_is_a_list(shape: list[int]) -> None:
    assert StringCodec.decode_input(tensor(["a", b"b"], shape)) == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "shape", "found"),
    [
        (["one"], [], ["one"]),
        ([], [0], []),
        ([], [0, 1], []),
        ([["a"], ["b"]], [2, 1], ["a", "b"]),
        (np.array(["a", "bc"]), [2], ["a", "bc"]),
        (np.array([b"a", b"bc"], object), [2], ["a", "bc"]),
        ("bare", [1], ["bare"]),
        (["counted in characters"], [21], ["counted in characters"]),
    ],
)
def test_decoded_data(data: Any, shape: list[int], found: list[str]) -> None:
    assert StringCodec.decode_input(tensor(data, shape)) == found


@pytest.mark.parametrize("codec", CODECS)
def test_other_datatypes_are_refused(codec: type[InputCodec]) -> None:
    with pytest.raises(
        CodecError, match=r'Tensor "x": the content type ".+" takes the datatype BYTES, not INT32\.'
    ) as caught:
        codec.decode_input(tensor([1, 2], [2], "INT32"))
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("codec", "data", "shape", "sentence"),
    [
        (StringCodec, ["a", "b", "c", "d"], [2, 2], r"takes a shape such as \[n\] or \[n, 1\], not \[2, 2\]"),
        (StringCodec, ["a", "b"], [3], r"data has 2 elements, which do not fill the shape \[3\]"),
        (StringCodec, ["a", "b"], [], r"data has 2 elements, which do not fill the shape \[\]"),
        (StringCodec, [], [2], "data has 0 elements"),
        (
            StringCodec,
            [b"a", b"\xff\xfe"],
            [2],
            "element 1: not UTF-8; send binary data with the content type base64",
        ),
        (StringCodec, [["a"], ["b", "c"]], [3], "ragged"),
        (StringCodec, ["a", 1], [2], r"data\[1\] is 1"),
        (Base64Codec, ["YWJj", "abc"], [2], "element 1: not base64"),
        (Base64Codec, ["a b="], [1], "element 0: not base64"),
        (Base64Codec, ["é"], [1], "element 0: not base64"),
        (DatetimeCodec, ["2022-13-01"], [1], "element 0: not a date of ISO 8601"),
        (DatetimeCodec, [b"\xff"], [1], "element 0: not a date of ISO 8601"),
    ],
)
def test_data_that_cannot_be_decoded_is_refused(
    codec: type[InputCodec], data: Any, shape: list[int], sentence: str
) -> None:
    with pytest.raises(CodecError, match=sentence):
        codec.decode_input(tensor(data, shape))


def test_base64_is_always_decoded() -> None:
    assert Base64Codec.decode_input(tensor(["abcd"])) == [b"i\xb7\x1d"]


def test_dates_with_z_are_aware() -> None:
    (found,) = DatetimeCodec.decode_input(tensor(["2022-01-11T11:00:00Z"]))
    assert found == datetime(2022, 1, 11, 11, tzinfo=UTC)


# --- whole requests -----------------------------------------------------------------------------------------


def test_an_input_that_another_codec_decoded_is_handed_on() -> None:
    decoded = DecodedInput("x", [1], "BYTES", [b"raw"])
    assert StringRequestCodec.decode_request(InferenceRequest([decoded])) == [b"raw"]


def test_any_other_number_of_tensors_is_refused() -> None:
    with pytest.raises(
        CodecError, match=r'"str" takes a request with exactly one tensor, but its inputs are 2: "x", "x"'
    ):
        StringRequestCodec.decode_request(InferenceRequest([tensor(["a"]), tensor(["b"])]))
    with pytest.raises(CodecError, match=r"a response with exactly one tensor, but its outputs are 0\."):
        StringRequestCodec.decode_response(InferenceResponse("m"))


class Label(str, Enum):
    CAT = "cat"
    DAY = "2024-01-02"


def test_texts_of_subclasses_count_by_their_value() -> None:
    for use_bytes in (True, False):
        for text in (Label.CAT, np.str_("cat")):
            for payload in (text, [text]):
                output = StringCodec.encode_output("y", payload, use_bytes=use_bytes)
                assert output.data == [b"cat" if use_bytes else "cat"]
                assert type(output.data[0]) in (bytes, str)
        assert Base64Codec.encode_output("y", [Label.CAT], use_bytes=False).data == ["Y2F0"]
        day = DatetimeCodec.encode_output("y", [Label.DAY], use_bytes=use_bytes)
        assert day.data == [b"2024-01-02" if use_bytes else "2024-01-02"]
        assert type(day.data[0]) in (bytes, str)
