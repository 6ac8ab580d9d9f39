"""JSON tensor data: accepted and refused values."""

import json
import math
from typing import Any

import numpy as np
import pytest

from mlsrv_protocol import (
    Code,
    Datatype,
    InvalidPayload,
    RequestInput,
    ResponseOutput,
)
from mlsrv_protocol.datatypes import bf16_to_float32
from mlsrv_protocol.json import (
    decode_request,
)

NAN, INF = math.nan, math.inf
FLOATS = ["FP16", "FP32", "FP64", "BF16"]
NOT_FLOATS = [str(datatype) for datatype in Datatype if not datatype.is_float]
SIGNED = ["INT8", "INT16", "INT32", "INT64"]
INTEGERS = [str(datatype) for datatype in Datatype if datatype.is_integer]
SIZES = [0, 3000]
"""Bytes of padding: small messages and large ones are read in different ways, by the same rules."""


def body(data: str, datatype: str, shape: str, padding: int = 0, more: str = "") -> bytes:
    tensor = f'"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}{more}'
    return f'{{"inputs": [{{{tensor}}}]{" " * padding}}}'.encode()


def values(tensor: RequestInput | ResponseOutput) -> list[Any]:
    """The values of a tensor as Python numbers or strings."""
    if isinstance(tensor.data, list):
        return tensor.data
    if tensor.datatype is Datatype.BF16:
        return bf16_to_float32(tensor.data).tolist()
    return list(tensor.data.tolist())


ACCEPTED: list[tuple[list[str], str, list[Any]]] = [
    (FLOATS, "[1, 2.5, -0.0]", [1.0, 2.5, -0.0]),
    (FLOATS, "[null]", [NAN]),
    (FLOATS, "[NaN, Infinity, -Infinity, 0.5]", [NAN, INF, -INF, 0.5]),
    (FLOATS, '["NaN", "Infinity", "-Infinity", 0.5]', [NAN, INF, -INF, 0.5]),
    (FLOATS, "[1e-60]", [1e-60]),
    (["FP16"], "[65504, 65519]", [65504.0, 65504.0]),
    (["FP32"], "[3.4028235e38, 16777217]", [float(np.float32(3.4028235e38)), 16777216.0]),
    (
        ["FP64"],
        "[1.7976931348623157e308, 9007199254740993, 1e-320]",
        [1.7976931348623157e308, 2.0**53, 1e-320],
    ),
    (
        ["FP64"],
        "[18446744073709551616, 123456789012345678901234567890]",
        [2.0**64, 123456789012345678901234567890.0],
    ),
    (["BF16"], "[1.5, 3.3895313892515355e38]", [1.5, 3.3895313892515355e38]),
    (INTEGERS, "[0, 127, 1.0, -0.0]", [0, 127, 1, 0]),
    (INTEGERS, "[1e1, 12.70e1]", [10, 127]),
    (SIGNED, "[-128]", [-128]),
    (["INT64"], "[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
    (["INT64"], "[9007199254740993, 9007199254740991.0]", [2**53 + 1, 2**53 - 1]),
    (["UINT64"], "[18446744073709551615, 9223372036854775808]", [2**64 - 1, 2**63]),
    (["UINT8"], "[255]", [255]),
    (["BOOL"], "[true, false, 1, 0]", [True, False, True, False]),
    (["BYTES"], '["", "a", "ä\\u00e9\\n\\ud83d\\ude00", "NaN"]', ["", "a", "äé\n😀", "NaN"]),
]


@pytest.mark.parametrize("padding", SIZES)
@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [(datatype, data, expected) for datatypes, data, expected in ACCEPTED for datatype in datatypes],
)
def test_accepted_data(datatype: str, data: str, expected: list[Any], padding: int) -> None:
    tensor = decode_request(body(data, datatype, f"[{len(expected)}]", padding)).inputs[0]
    assert tensor.datatype is Datatype(datatype)
    if isinstance(tensor.data, np.ndarray):
        assert tensor.data.dtype == tensor.datatype.dtype
        assert tensor.data.shape == (len(expected),)
        assert tensor.data.flags.c_contiguous
    if expected == [1e-60] and datatype != "FP64":
        expected = [0.0]
    found = values(tensor)
    assert list(map(repr, found)) == list(map(repr, expected))


REFUSED: list[tuple[list[str], str, str]] = [
    (INTEGERS, "[1.5]", r"data\[0\] is 1.5, but"),
    (INTEGERS, '["1"]', r'data\[0\] is "1", but'),
    (INTEGERS, "[true]", r"data\[0\] is true, but"),
    (INTEGERS, "[0, null]", r"data\[1\] is null, but"),
    (INTEGERS, "[NaN]", r"data\[0\] is NaN, but"),
    (INTEGERS, '["NaN"]', r'data\[0\] is "NaN", but'),
    (INTEGERS, "[{}]", r"data\[0\] is an object, but"),
    (INTEGERS, "[18446744073709551616]", r"data\[0\] is 1.8446744073709552e\+19, but"),
    (INTEGERS, "[9007199254740993.0]", r"data\[0\] is 9007199254740992.0, but"),
    (INTEGERS, "[1e300]", r"data\[0\] is 1e\+300, but"),
    (["INT8"], "[128]", r"data\[0\] is 128, but INT8 takes only whole numbers from -128 to 127\.$"),
    (["INT8"], "[-129.0]", r"data\[0\] is -129.0, but"),
    (["INT16"], "[0, 32768]", r"data\[1\] is 32768, but"),
    (["INT32"], "[2147483648]", r"data\[0\] is 2147483648, but"),
    (["INT64"], "[9223372036854775808]", r"data\[0\] is 9223372036854775808, but"),
    (["INT64"], "[-9223372036854775809]", r"data\[0\] is -9.223372036854776e\+18, but"),
    (["UINT8"], "[256]", r"data\[0\] is 256, but"),
    (["UINT16"], "[65536]", r"data\[0\] is 65536, but"),
    (["UINT32"], "[4294967296]", r"data\[0\] is 4294967296, but"),
    (["UINT8", "UINT16", "UINT32", "UINT64"], "[-1]", r"data\[0\] is -1, but"),
    (["BOOL"], "[2]", r"data\[0\] is 2, but BOOL takes only true, false, 0 and 1\.$"),
    (["BOOL"], "[-1]", r"data\[0\] is -1, but"),
    (["BOOL"], "[1.0]", r"data\[0\] is 1.0, but"),
    (["BOOL"], '["false"]', r'data\[0\] is "false", but'),
    (["BOOL"], "[null]", r"data\[0\] is null, but"),
    (["BOOL"], "[NaN]", r"data\[0\] is NaN, but"),
    (FLOATS, "[true]", r"data\[0\] is true, but"),
    (FLOATS, '["1.5"]', r'data\[0\] is "1.5", but'),
    (FLOATS, '["nan"]', r'data\[0\] is "nan", but'),
    (FLOATS, '["+Infinity"]', r'data\[0\] is "\+Infinity", but'),
    (FLOATS, "[{}]", r"data\[0\] is an object, but"),
    (FLOATS, "[1e400]", "number is infinity"),
    (FLOATS, "[NaN, 1e400]", "number is infinity"),
    (FLOATS, "[-NaN]", "not valid JSON"),
    (FLOATS, "[nan]", "not valid JSON"),
    (FLOATS, "[+1]", "not valid JSON"),
    (FLOATS, "[.5]", "not valid JSON"),
    (FLOATS, "[01]", "not valid JSON"),
    (FLOATS, "[1,]", "not valid JSON"),
    (["FP16"], "[1e6]", r"data\[0\] is 1000000.0, but FP16 takes only numbers up to ±65504, null, "),
    (["FP16"], "[65520]", r"data\[0\] is 65520.0, but"),
    (["FP32"], "[0, 1e39]", r"data\[1\] is 1e\+39, but"),
    (["FP32"], "[NaN, -1e39]", r"data\[1\] is -1e\+39, but"),
    (["BF16"], "[3.4e38]", r"data\[0\] is 3.4e\+38, but"),
    (["BYTES"], "[1]", r"data\[0\] is 1, but BYTES takes only strings\.$"),
    (["BYTES"], "[null]", r"data\[0\] is null, but"),
    (["BYTES"], "[true]", r"data\[0\] is true, but"),
    (["BYTES"], "[NaN]", r"data\[0\] is NaN, but"),
    (["BYTES"], '["\\ud800"]', "surrogate"),
    (["BYTES"], '["a\nb"]', "not valid JSON"),
]


@pytest.mark.parametrize("padding", SIZES)
@pytest.mark.parametrize(
    ("datatype", "data", "problem"),
    [(datatype, data, problem) for datatypes, data, problem in REFUSED for datatype in datatypes],
)
def test_refused_data(datatype: str, data: str, problem: str, padding: int) -> None:
    with pytest.raises(InvalidPayload, match=problem) as caught:
        decode_request(body(data, datatype, f"[{data.count(',') + 1}]", padding))
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert str(caught.value).startswith(('inputs[0] "x": data', "The body is not valid JSON"))


@pytest.mark.parametrize("padding", SIZES)
@pytest.mark.parametrize(
    ("shape", "data", "count"),
    [
        ("[]", "[7]", 1),
        ("[]", "[[[7]]]", 1),
        ("[0]", "[]", 0),
        ("[0]", "null", 0),
        ("[2, 0]", "[[], []]", 0),
        ("[2, 0]", "[]", 0),
        ("[2, 3]", "[1, 2, 3, 4, 5, 6]", 6),
        ("[2, 3]", "[[1, 2, 3], [4, 5, 6]]", 6),
        ("[2, 3]", "[[1, 2], [3, 4], [5, 6]]", 6),
        ("[6]", "[[[1], [2], [3]], [[4], [5], [6]]]", 6),
        ("[1, 1]", "[" * 50 + "7" + "]" * 50, 1),
        ("[1]", "[" * 64 + "7" + "]" * 64, 1),
    ],
)
@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "BYTES"])
def test_nesting_need_not_match_the_shape(
    shape: str, data: str, count: int, datatype: str, padding: int
) -> None:
    expected: list[Any] = [7] if count == 1 else list(range(1, count + 1))
    if datatype == "BOOL":
        data, expected = (
            data.translate(str.maketrans("234567", "101010")),
            [n in (1, 2, 4, 6) for n in expected],
        )
        expected = [False] if count == 1 else expected
    if datatype == "BYTES":
        for digit in "1234567":
            data = data.replace(digit, f'"{digit}"')
        expected = list(map(str, expected))
    tensor = decode_request(body(data, datatype, shape, padding)).inputs[0]
    assert values(tensor) == expected
    assert tensor.shape == json.loads(shape)


@pytest.mark.parametrize("padding", SIZES)
@pytest.mark.parametrize(
    ("shape", "data", "problem"),
    [
        ("[3]", "[1, 2]", r"data has 2 elements, but shape \[3\] means 3"),
        ("[1]", "[]", r"data has 0 elements, but shape \[1\] means 1"),
        ("[]", "[]", r"data has 0 elements, but shape \[\] means 1"),
        ("[]", "[1, 2]", r"data has 2 elements, but shape \[\] means 1"),
        ("[0]", "[1]", r"data has 1 element, but shape \[0\] means 0"),
        ("[3]", "[[1, 2], [3]]", "ragged"),
        ("[3]", "[[1], 2, [3]]", "ragged"),
        ("[3]", "[1, [2, 3]]", "ragged"),
        ("[3]", "[[1, 2, 3], []]", "ragged"),
        ("[4]", "[[[1], [2]], [[3, 4]]]", "ragged"),
        ("[1]", "[" * 65 + "1" + "]" * 65, "nested more than 64 levels"),
        ("[1]", "[" * 250_000 + "1" + "]" * 250_000, "nested too deep"),
        ("[1]", "[NaN, " + "[" * 250_000 + "1" + "]" * 250_000 + "]", "nested too deep"),
        ("[-1]", "[1]", "shape contains -1"),
        ("[18446744073709551615]", "[1]", "more elements than any tensor"),
        ("[18446744073709551616]", "[1]", "shape contains 1.8446744073709552e"),
        ("[4294967296, 4294967296]", "[1]", "more elements than any tensor"),
        ("[0, 9223372036854775807]", "[]", "more elements than any tensor"),
        (str([1] * 33), "[1]", "shape has 33 dimensions"),
        ("[" * 250_000 + "]" * 250_000, "[1]", "nested too deep"),
        ("[true]", "[1]", "shape contains true"),
        ("[1.0]", "[1]", "shape contains 1.0"),
        ('"[1]"', "[1]", "it must be an array of integers"),
        ("null", "[1]", "shape is missing"),
        ("[1]", "null", "data is missing; it must be an array"),
        ("[1]", "1", "data is 1; it must be an array"),
        ("[1]", '"abc"', 'data is "abc"; it must be an array'),
        ("[1]", "{}", "data is an object; it must be an array"),
    ],
)
def test_wrong_shapes_and_counts(shape: str, data: str, problem: str, padding: int) -> None:
    with pytest.raises(InvalidPayload, match=problem) as caught:
        decode_request(body(data, "FP32", shape, padding))
    assert len(str(caught.value)) < 400
