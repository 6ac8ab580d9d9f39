"""Texts that are parsed chunk by chunk: the same values and refusals as of a text that is parsed whole."""

import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsrv_protocol import json_chunks
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.json import decode_request
from mlsrv_protocol.json_chunks import load_in_chunks
from mlsrv_protocol.json_text import loads

KEYS = st.sampled_from(["a", "b", 'q"', "\\", "é,", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet='ab",[]{}\\:é\n', max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=40,
)
MUTATIONS = st.lists(st.tuples(st.integers(0, 300), st.sampled_from(list(' ,[]{}":\\a1'))), max_size=2)


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Any:
    """Have texts of a few characters cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_chunks, "CHUNK", 7)
        patch.setattr(json_chunks, "_TAIL", 3)
        yield


def outcome(load: Any, text: bytes) -> Any:
    try:
        return json.dumps(load(text))
    except orjson.JSONDecodeError:
        return "refused"


@settings(max_examples=300, deadline=None)
@given(VALUES, MUTATIONS, st.booleans())
def test_any_text_is_read_as_it_is_in_one_piece(
    value: Any, mutations: list[tuple[int, str]], spaces: bool
) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(" , ", " : ") if spaces else (",", ":"))
    for at, character in mutations:
        text = text[:at] + character + text[at + 1 :]
    body = text.encode()
    assert outcome(lambda it: load_in_chunks(it, orjson.loads), body) == outcome(orjson.loads, body)


@pytest.mark.parametrize(
    "text",
    [
        '{"data":[1,2,3,4,5,6],"x":2,"data":[7]}',
        '{"data":[7],"x":2,"data":[1,2,3,4,5,6,7,8]}',
        '{"data":{"a":1,"b":2,"c":3},"x":2,"data":{"c":4,"d":5,"e":6}}',
        '[[1,2,3,4,5],{"a":[{"b":[1,2,3,4]},"c"],"d":"e"}]',
    ],
)
def test_the_last_of_equal_keys_counts(text: str) -> None:
    assert load_in_chunks(text.encode(), orjson.loads) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "[1,2,3,4,5,6,,7,8]",
        "[1,2,3,4,5,      ]",
        "[           ,1,2,3]",
        '{"a":1,"b":2,"c":3,     }',
        "[1,2,3,4,5,6}",
    ],
)
def test_what_is_wrong_at_a_cut_is_refused(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        load_in_chunks(text.encode(), orjson.loads)


def test_the_place_of_a_mistake_is_that_in_the_text() -> None:
    text = '{"é": "é",\n "data": [1, 2, 3, 4,\n 5, é, 7, 8, 9]}'
    with pytest.raises(orjson.JSONDecodeError) as whole:
        orjson.loads(text)
    with pytest.raises(orjson.JSONDecodeError) as found:
        load_in_chunks(text.encode(), orjson.loads)
    assert (found.value.lineno, found.value.colno) == (whole.value.lineno, whole.value.colno) == (3, 5)
    assert found.value.msg == whole.value.msg


def test_values_in_many_chunks_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_chunks, "CHUNK", 64)
    numbers = random.Random(0)
    tensor = {"name": "x", "shape": [600], "datatype": "FP64", "data": [1.5, None] * 300}
    asked = {
        "parameters": {f"k{number}": numbers.random() for number in range(200)},
        "inputs": [tensor, {**tensor, "name": "y", "data": [[None, 2.5]] * 300}],
    }
    text = json.dumps(asked)
    assert load_in_chunks(text.encode(), orjson.loads) == asked


def long_request(data: str, count: int, datatype: str, more: str = "") -> bytes:
    tensor = f'{{"name":"x","shape":[{count}],"datatype":"{datatype}","data":[{data}]}}'
    return f'{{{more}"inputs":[{tensor}]}}'.encode()


COUNT = 200_000
LONG = {
    "texts": long_request('"ab",' * COUNT + '"c"', COUNT + 1, "BYTES"),
    "a bare word": long_request("1.5," * COUNT + "NaN", COUNT + 1, "FP64"),
    "a null": long_request("1.5," * COUNT + "null", COUNT + 1, "FP64"),
    "an unknown key": long_request("1.5", 1, "FP64", f'"zz":[{"[]," * COUNT}1],'),
}


@pytest.mark.parametrize("name", LONG)
def test_no_piece_of_a_long_request_is_large(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(json_chunks, "CHUNK", 2**16)
    sizes = []
    parse = orjson.loads

    def noting(text: Any) -> Any:
        sizes.append(len(text))
        return parse(text)

    for module in ("json_text", "json_literals", "large_json"):
        monkeypatch.setattr(f"mlsrv_protocol.{module}.orjson.loads", noting)
    request = decode_request(LONG[name])
    assert request.inputs[0].data is not None
    assert len(sizes) > 5
    assert max(sizes) < 2 * 2**16


def test_refusals_name_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_chunks, "CHUNK", 2**16)
    with pytest.raises(InvalidPayload, match=r"is not valid JSON: .* at line 1, column 1000\d\d\d"):
        loads(b'["ab",' + b'"ab",' * COUNT + b"x]")
