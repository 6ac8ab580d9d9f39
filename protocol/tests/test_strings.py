from enum import Enum, StrEnum

import numpy as np
import pytest

from mlsrv_protocol import InferenceRequest, InvalidPayload, RequestInput
from mlsrv_protocol.strings import BareText, elements, fitting_shape, from_json, texts


class Label(str, Enum):
    CAT = "cat"


class Word(StrEnum):
    DOG = "dog"


def test_from_json() -> None:
    flat = ["a", ""]
    assert from_json(flat) is flat
    assert from_json([["a", "b"], ["c", "d"]]) == ["a", "b", "c", "d"]
    assert from_json([]) == from_json([[], []]) == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (["a", 1], r"data\[1\] is 1, but BYTES takes only strings"),
        ([None], r'data\[0\] is null, but BYTES takes only strings; send texts with gaps as .* "pd_json"'),
        ([["a"], ["b", True]], "ragged"),
        ([["a"], "b"], "ragged"),
        ([{}], r"data\[0\] is an object"),
    ],
)
def test_bytes_tensors_take_only_strings_from_json(data: list[object], problem: str) -> None:
    with pytest.raises(InvalidPayload, match=problem):
        from_json(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (["a", b"b"], ["a", b"b"]),
        ([["a"], [b"b"]], ["a", b"b"]),
        (("a", "b"), ["a", "b"]),
        ("a", ["a"]),
        (b"a", [b"a"]),
        (bytearray(b"a"), [b"a"]),
        ([memoryview(b"a")], [b"a"]),
        (np.array([["a"], ["bc"]]), ["a", "bc"]),
        ([Label.CAT, np.str_("b"), Word.DOG], ["cat", "b", "dog"]),
        (np.array([Label.CAT], object), ["cat"]),
        (np.array([b"a", b"bc"]), [b"a", b"bc"]),
        (np.array(["a", b"b"], dtype=object), ["a", b"b"]),
        ([np.str_("a"), np.bytes_(b"b")], ["a", b"b"]),
        ([], []),
    ],
)
def test_elements_that_python_code_made(data: object, expected: list[str | bytes]) -> None:
    found = elements(data)
    assert found == expected
    assert set(map(type, found)) <= {str, bytes}


@pytest.mark.parametrize("data", [[1], [None], 5, None, np.array([1.5]), [["a"], ["b", "c"]], [{}]])
def test_anything_else_is_refused(data: object) -> None:
    with pytest.raises(InvalidPayload, match=r"only strings and bytes|ragged"):
        elements(data)


def test_bytes_travel_as_text_or_all_as_base64() -> None:
    assert texts(["ä", b"b", "é".encode()]) == (["ä", "b", "é"], False)
    assert texts(["ä", b"\xff"]) == (["w6Q=", "/w=="], True)


@pytest.mark.parametrize(
    ("data", "shape", "found"),
    [
        (["a", "b"], [2], [2]),
        (["a", "b"], [1, 2], [1, 2]),
        (["hello world"], [11], [1]),
        (["hello world"], [1, 11], [1]),
        (["é"], [1], [1]),
        (["é"], [2], [1]),
        ([b"\xff\x00"], [2], [1]),
        (["0101" * 4], [4, 4], [1]),
        (["hello world ", "bye bye "], [2, 11], [2]),
        ([["a"], ["b"]], [2, 11], [2]),
        ("hello world ", [11], [1]),
        (b"\xff", [8, 8], [1]),
        (BareText(["a"]), [8, 8], [1]),
        ([], [0, 4], [0, 4]),
    ],
)
def test_shapes_that_count_characters(data: object, shape: list[int], found: list[int]) -> None:
    expected = int(np.prod(shape))
    assert fitting_shape(data, shape, expected) == found
    tensor = RequestInput("x", shape, "BYTES", data)  # type: ignore[arg-type]  # converted
    (written,) = InferenceRequest([tensor]).dict()["inputs"]
    assert written["shape"] == found


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (["a", "b"], [3]),
        (["a", "b"], [1]),
        (["abc"], [2]),
        (["a", "b", "c"], [2, 3]),
        ([], [1]),
        (["a"], [2, 2]),
    ],
)
def test_shapes_that_count_nothing_are_refused(data: list[str], shape: list[int]) -> None:
    with pytest.raises(InvalidPayload, match=f"data has {len(data)} element"):
        fitting_shape(data, shape, int(np.prod(shape)))
    with pytest.raises(InvalidPayload, match=f"data has {len(data)} element"):
        RequestInput.parse_obj({"name": "x", "shape": shape, "datatype": "BYTES", "data": data})


def test_reading_data_that_is_one_string() -> None:
    found = RequestInput.parse_obj({"name": "x", "shape": [8, 8], "datatype": "BYTES", "data": "01" * 32})
    assert found.shape == [8, 8]
    assert found.data == ["01" * 32]
    assert found.data.__root__ == "01" * 32
    with pytest.raises(InvalidPayload, match=r"data is \"1\"; it must be an array"):
        RequestInput.parse_obj({"name": "x", "shape": [1], "datatype": "INT8", "data": "1"})


def test_reading_shapes_that_count_characters() -> None:
    given = {"name": "x", "shape": [2, 11], "datatype": "BYTES", "data": ["hello world ", "bye bye "]}
    assert RequestInput.parse_obj(given).shape == [2]
