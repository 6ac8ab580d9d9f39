"""Hostile JSON: deep, huge, or random input is decoded or refused quickly, with a short sentence."""

import contextlib
import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_protocol import (
    Datatype,
    InvalidPayload,
)
from mlsrv_protocol.json import (
    decode_json_object,
    decode_request,
    decode_response,
    encode_request,
)

SIZES = [0, 3000]
"""Bytes of padding: small messages and large ones are read in different ways, by the same rules."""


def body(data: str, datatype: str, shape: str, padding: int = 0, more: str = "") -> bytes:
    tensor = f'"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}{more}'
    return f'{{"inputs": [{{{tensor}}}]{" " * padding}}}'.encode()


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":', " [ "])
@pytest.mark.parametrize(
    "start",
    ["", '{"inputs": ', '{"inputs": [{"data": ', '{"inputs": [], "parameters": {"a": ', '{"a": NaN, "b": '],
)
@pytest.mark.parametrize("closed", [True, False])
def test_unlimited_nesting_is_refused_everywhere(start: str, opening: str, closed: bool) -> None:
    closing = {"[": "]", "{": "}"}
    text = start + opening * 250_000
    if closed:
        text += "0" + "".join(closing[char] for char in reversed(text) if char in closing)
    started = time.perf_counter()
    for decode in (decode_request, decode_response, decode_json_object):
        with pytest.raises(InvalidPayload):
            decode(text.encode())
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    "raw", [b"\xff", b'{"inputs": [], "id": "\xc3("}', b'{"id": "\xed\xa0\x80"}', b'{"a\xff": NaN}']
)
def test_text_that_is_not_utf8(raw: bytes) -> None:
    for padding in SIZES:
        with pytest.raises(InvalidPayload, match="it is not UTF-8"):
            decode_request(raw + b" " * padding)


def test_one_bad_element_in_a_large_body_is_found_quickly() -> None:
    numbers = [b"0.123456789"] * 500_000
    for bad, problem in [
        (b'"a"', 'is "a"'),
        (b"true", "is true"),
        (b"1e39", r"is 1e\+39"),
        (b"[1]", "ragged"),
    ]:
        large = b'{"inputs":[{"name":"x","shape":[500000],"datatype":"FP32","data":[%s,%s]}]}'
        started = time.perf_counter()
        with pytest.raises(InvalidPayload, match=problem):
            decode_request(large % (b",".join(numbers[1:]), bad))
        assert time.perf_counter() - started < 20


def test_many_tensors_and_many_keys_are_read_in_linear_time() -> None:
    tensors = ",".join(
        f'{{"name":"{number}","shape":[1],"datatype":"FP32","data":[1]}}' for number in range(20_000)
    )
    keys = ",".join(f'"{number}":[1,{{}}]' for number in range(100_000))
    few = ",".join(keys.split(",", 40_000)[:-1])
    started = time.perf_counter()
    request = decode_request(f'{{"inputs":[{tensors}],"parameters":{{{few}}},{keys}}}'.encode())
    assert len(request.inputs) == 20_000
    assert time.perf_counter() - started < 20


def test_a_huge_value_is_not_echoed() -> None:
    huge = "x" * 1_000_000
    for text in (
        f'{{"inputs": "{huge}"}}',
        f'{{"inputs": [], "id": ["{huge}"]}}',
        f'{{"inputs": [{{"name": "{huge}"}}]}}',
        f'{{"inputs": [{{"name": "x", "shape": [1], "datatype": "{huge}"}}]}}',
        body(f'["{huge}"]', "FP32", "[1]").decode(),
        body("[1]", "FP32", str([9] * 1000)).decode(),
        f'{{"inputs": [{{"name": "{huge}"}}], "a": NaN}}',
        huge,
    ):
        with pytest.raises(InvalidPayload) as caught:
            decode_request(text.encode())
        assert len(str(caught.value)) < 400


def test_huge_shapes_allocate_nothing() -> None:
    bodies = [
        body("[1]", "FP64", shape)
        for shape in ("[1000000000000]", "[4294967295, 4294967295]", "[0, 9999999999999999]")
    ]
    with pytest.raises(InvalidPayload):
        decode_request(bodies[0])
    tracemalloc.start()
    try:
        for absurd in bodies:
            with pytest.raises(InvalidPayload):
                decode_request(absurd)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_random_text_is_decoded_or_refused(noise: bytes) -> None:
    for decode in (decode_request, decode_response, decode_json_object):
        with contextlib.suppress(InvalidPayload):
            decode(noise)  # type: ignore[operator]  # three functions of one parameter


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": JSON | st.just("x"),
        "shape": JSON | st.just([2]),
        "datatype": JSON | st.sampled_from(list(Datatype)),
        "data": JSON | st.just([1, 0]),
        "parameters": JSON,
    },
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "inputs": JSON | st.lists(FIELDS),
            "outputs": JSON,
            "id": JSON,
            "parameters": JSON,
            "x": JSON,
        },
    ),
    st.sampled_from(SIZES),
)
def test_random_json_is_decoded_or_refused(noise: Any, padding: int) -> None:
    text = json.dumps(noise, ensure_ascii=False).encode("utf-8", "replace") + b" " * padding
    try:
        request = decode_request(text)
    except InvalidPayload:
        return
    # Not the messages: a parameter that is null is not written.
    assert encode_request(decode_request(encode_request(request))) == encode_request(request)
