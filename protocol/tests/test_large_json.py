"""Large JSON: simdjson returns what the general parser returns, or None."""

import json
import threading
import time
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_protocol import large_json
from mlsrv_protocol.large_json import load_arrays


def message(data: str, datatype: str = "FP32", rest: str = "") -> bytes:
    """A body that is large enough for the short cut, whatever is in it."""
    padding = " " * 2048
    tensor = f'"name": "x", "shape": [1], "datatype": "{datatype}", "data": {data}'
    return f'{{{padding}"inputs": [{{{tensor}}}]{rest}}}'.encode()


def same(left: Any, right: Any) -> bool:
    """Return whether the data of both parsers is the same, leaf by leaf."""
    if isinstance(left, np.ndarray):
        flat: list[Any] = []
        stack = [right]
        while stack:
            top = stack.pop()
            if isinstance(top, list):
                stack.extend(reversed(top))
            else:
                flat.append(top)
        # The general parser keeps integers that a float cannot hold.
        return left.tolist() == ([float(leaf) for leaf in flat] if left.dtype.kind == "f" else flat)
    if isinstance(left, dict):
        left = {key: value for key, value in left.items() if key != large_json.NESTED}
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) and type(left) is type(right)


@pytest.mark.parametrize(
    ("data", "datatype", "dtype"),
    [
        ("[1, 2.5, -3e2]", "FP32", np.float64),
        ("[1, 2.5]", "BF16", np.float64),
        ("[[1, 2], [3, 4], [5, 6]]", "FP16", np.float64),
        ("[[[1], [2]], [[3], [4]]]", "FP64", np.float64),
        ("[[], []]", "FP64", np.float64),
        ("[]", "INT8", np.int64),
        ("[9223372036854775807, -9223372036854775808]", "INT64", np.int64),
        ("[18446744073709551615, 0]", "UINT64", np.uint64),
        ("[[1000], [2]]", "INT8", np.int64),
    ],
)
def test_numbers_become_arrays(data: str, datatype: str, dtype: type[np.generic]) -> None:
    body = message(data, datatype, ', "id": "7", "parameters": {"a": [1, {"b": null}]}, "other": 1')
    found = load_arrays(body, "inputs")
    assert found is not None
    array = found["inputs"][0]["data"]
    assert isinstance(array, np.ndarray)
    assert array.dtype == dtype
    assert array.ndim == 1
    assert array.flags.writeable
    assert same(found, orjson.loads(body))


def test_tensors_of_strings_go_along_with_those_of_numbers() -> None:
    body = message("[1]", rest="").replace(
        b'"inputs": [', b'"inputs": [{"name": "s", "datatype": "BYTES", "data": [["a"], ["\\u00e9"]]}, '
    )
    found = load_arrays(body, "inputs")
    assert found is not None
    assert same(found, orjson.loads(body))


@pytest.mark.parametrize(
    "data",
    [
        "[1, null]",
        '[1, "2"]',
        "[1, true]",
        "[1, {}]",
        "[1, NaN]",
        "[1, 1e400]",
        "[1, 123456789012345678901234567890]",
        "[1, [2]]",
        "[[1, 2], [], 3]",
        "[[1, 2], [3]]",
        "[[1, 2], [3], [4, 5, 6]]",
        "[[1, 2], [[3], 4]]",
        "[[1, [2]], [3, 4]]",
        "[[], [1]]",
        "[" * 33 + "1" + "]" * 33,
        "[" * 100_000 + "]" * 100_000,
        "[1",
        "[1]]",
        "[01]",
    ],
)
def test_messages_that_need_the_general_parser_return_none(data: str) -> None:
    assert load_arrays(message(data), "inputs") is None


@pytest.mark.parametrize("data", ["[1.0]", "[1.5]", "[18446744073709551615]", "[true]"])
def test_numbers_that_are_not_integers_return_none(data: str) -> None:
    assert load_arrays(message(data, "INT64"), "inputs") is None


def test_negative_numbers_are_not_unsigned() -> None:
    assert load_arrays(message("[-1]", "UINT64"), "inputs") is None


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + message("[1]"),
        message("[1]") + b"x",
        message("[1]") + b"\x00",
        message("[1]", rest=', "id": "\\ud800"'),
        message("[1]", rest=', "id": "').replace(b'"}', b'\xff"}'),
        message("[1]", rest=', "id": "a\nb"'),
        message("[1]", rest=', "inputs": []'),
        message("[1]", rest=', "a\\u0000b": 1'),
        message("[1]").replace(b'"shape"', b'"name"'),
        message("[1]", rest=', "id": "[", "x": "\\u005b"'),
        message("[1]", "BYTES"),
        message("[1]", "BOOL"),
        message("[1]", "FP99"),
        b"[" + b" " * 2048 + b"]",
        b'{"inputs": {}' + b" " * 2048 + b"}",
        b'{"outputs": []' + b" " * 2048 + b"}",
        b'{"inputs": [1]' + b" " * 2048 + b"}",
        b" " * 4096,
    ],
)
def test_odd_messages_return_none(body: bytes) -> None:
    assert load_arrays(body, "inputs") is None


def test_many_small_tensors_and_many_keys_return_none() -> None:
    small = b'{"name":"x","shape":[1],"datatype":"FP32","data":[1]}'
    assert load_arrays(b'{"inputs":[' + b",".join([small] * 100) + b"]}", "inputs") is None
    keys = b",".join(b'"k%d":0' % number for number in range(200_000))
    started = time.perf_counter()
    assert load_arrays(message("[1]", rest=", ").replace(b"]]", b"]]")[:-1] + keys + b"}", "inputs") is None
    assert time.perf_counter() - started < 5


def test_the_kept_parser_is_used_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_json, "_spare", [])
    bodies = [message(str([number] * 2000), "INT32") for number in range(4)]
    wrong: list[object] = []

    def work(number: int) -> None:
        for _ in range(50):
            found = load_arrays(bodies[number], "inputs")
            if found is None or set(found["inputs"][0]["data"].tolist()) != {number}:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not wrong
    assert 1 <= len(large_json._spare) <= 4


def test_the_parser_of_a_very_large_message_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_json, "_spare", [])
    monkeypatch.setattr(large_json, "_KEEP", 100)
    assert load_arrays(message("[1]"), "inputs") is not None
    assert large_json._spare == []


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text('[x"\\é\x00', max_size=3)
)
NESTED = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner)
)
NUMBERS = st.recursive(
    st.lists(st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    lambda inner: st.lists(inner, max_size=4),
)


@given(
    data=NUMBERS | NESTED,
    datatype=st.sampled_from(["FP32", "FP64", "INT64", "UINT64", "INT8", "BYTES"]),
    parameters=NESTED,
    identity=NESTED,
)
def test_it_agrees_with_the_general_parser(data: Any, datatype: str, parameters: Any, identity: Any) -> None:
    tensor = {"name": "x", "shape": [1], "datatype": datatype, "data": data}
    plain = {"id": identity, "parameters": parameters, "inputs": [tensor], " " * 2048: None}
    body = json.dumps(plain, ensure_ascii=False).encode()
    found = load_arrays(body, "inputs")
    if found is not None:
        assert same(found, orjson.loads(body))
        array = found["inputs"][0]["data"]
        if isinstance(array, np.ndarray):
            assert np.array(data).size == array.size  # numpy raises for ragged data, which is not let through
