import numpy as np
import pytest

from mlsrv_protocol import InvalidPayload
from mlsrv_protocol.strings import elements, from_json, texts


def test_from_json() -> None:
    flat = ["a", ""]
    assert from_json(flat) is flat
    assert from_json([["a", "b"], ["c", "d"]]) == ["a", "b", "c", "d"]
    assert from_json([]) == from_json([[], []]) == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (["a", 1], r"data\[1\] is 1, but BYTES takes only strings"),
        ([None], r"data\[0\] is null"),
        ([["a"], ["b", True]], "ragged"),
        ([["a"], "b"], "ragged"),
        ([{}], r"data\[0\] is an object"),
    ],
)
def test_only_strings_are_bytes(data: list[object], problem: str) -> None:
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
