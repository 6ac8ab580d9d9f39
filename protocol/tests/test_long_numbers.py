"""Long numbers: parsed in chunks they are what they are when parsed at once."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import orjson
import pytest

from mlsrv_protocol import large_json, long_numbers
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.json_text import loads_message
from mlsrv_protocol.large_json import load_arrays
from mlsrv_protocol.long_numbers import LongNumbers


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_numbers, "LONG", 2**13)
    monkeypatch.setattr(long_numbers, "_CHUNK", 2**12 + 100)
    monkeypatch.setattr(long_numbers, "_PIECE", 2**10)


def text(data: str, datatype: str = "FP64", before: str = "", after: str = "") -> bytes:
    found = f'{{{before}"inputs":[{{"name":"x","shape":[1],"datatype":"{datatype}","data":{data}}}]{after}}}'
    return found.encode() + b" " * 2**16


def numbers(datatype: str) -> list[Any]:
    chance = random.Random(datatype)
    if datatype.startswith("FP"):
        return [chance.choice([chance.random(), 1e300 * chance.random(), -0.0, 7]) for _ in range(9000)]
    low = 0 if datatype.startswith("U") else -(2**63)
    return [chance.randint(low, 2**64 - 1 if low == 0 else 2**63 - 1) for _ in range(9000)]


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "INT64", "UINT64", "INT8"])
@pytest.mark.parametrize("layout", ["{}", "[ {} ]", "[\n{}\n]"])
def test_values_are_those_of_the_general_parser(datatype: str, layout: str) -> None:
    values = numbers(datatype)
    separator = " , " if "\n" in layout else ","
    data = separator.join(map(repr, values))
    body = text(layout.format(data) if layout != "{}" else f"[{data}]", datatype)
    assert len(LongNumbers(body).text) < len(body) - len(data) + 20
    message = load_arrays(body, "inputs")
    assert message is not None
    found = message["inputs"][0]["data"]
    assert found.tolist() == orjson.loads(body)["inputs"][0]["data"] == values
    # The whole text at once gives the same.
    long_numbers.LONG = 2**30
    whole = load_arrays(body, "inputs")
    assert whole is not None
    assert found.dtype == whole["inputs"][0]["data"].dtype
    assert found.tobytes() == whole["inputs"][0]["data"].tobytes()


def test_several_tensors_get_their_own_numbers() -> None:
    lists = [list(range(start, start + 5000)) for start in (0, 10_000, 20_000)]
    tensors = [
        {"name": str(i), "shape": [1], "datatype": "INT64", "data": each} for i, each in enumerate(lists)
    ]
    tensors.insert(1, {"name": "one", "shape": [1], "datatype": "INT64", "data": [5]})
    message = load_arrays(orjson.dumps({"inputs": tensors}), "inputs")
    assert message is not None
    assert [list(tensor["data"]) for tensor in message["inputs"]] == [lists[0], [5], *lists[1:]]


LONG = ",".join(map(str, range(10_000)))


@pytest.mark.parametrize(
    "body",
    [
        text("[1]", before=f'"parameters":{{"a":[{LONG}]}},'),
        text("[1]", before=f'"id":"[{LONG}]",'),
        text("[1]", before=f'"id":"\\"[{LONG}]",'),
        text(f"[{LONG}]", before='"id":"\\"",'),
        text(f"[{LONG},null]"),
        text(f"[{LONG},true]", "INT64"),
        text(f"[{LONG},0.5]", "INT64"),
        text(f"[{LONG},-1]", "UINT64"),
        text(f"[{LONG}]", "BYTES"),
        text(f"[[{LONG}],[{LONG}]]"),
        text(f"[[{LONG}],[{LONG},1]]"),
        text(f"[{' ' * 10_000}]"),
        text(f"[{LONG},{' ' * 10_000}1]"),
    ],
)
def test_other_texts_are_as_ever(body: bytes) -> None:
    try:
        found = loads_message(body, "inputs")
    except InvalidPayload:
        found = None
    long_numbers.LONG = 2**30
    assert repr(found) == repr(loads_message(body, "inputs"))


@pytest.mark.parametrize("at", [0, 1, 20_000, 40_000])
@pytest.mark.parametrize("wrong", [",", ",,", "x", "1 2", "-", "{", "]", '"'])
def test_what_is_no_json_is_refused_with_its_place(at: int, wrong: str) -> None:
    place = at and LONG.find(",", at) + 1
    body = text(f"[{LONG[:place]}{wrong},{LONG[place:]}]")
    with pytest.raises(InvalidPayload) as chunked:
        loads_message(body, "inputs")
    long_numbers.LONG = 2**30
    with pytest.raises(InvalidPayload) as whole:
        loads_message(body, "inputs")
    assert str(chunked.value) == str(whole.value)
    assert load_arrays(body, "inputs") is None


def test_no_call_of_the_parser_gets_a_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    class Noting(large_json.simdjson.Parser):
        def parse(self, src: bytes, recursive: bool = False) -> Any:
            lengths.append(len(src))
            return super().parse(src, recursive)

    monkeypatch.setattr(large_json.simdjson, "Parser", Noting)
    monkeypatch.setattr(large_json, "_spare", [])
    body = text(f"[{','.join([LONG] * 10)}]").rstrip()
    assert load_arrays(body, "inputs") is not None
    assert len(lengths) > 100
    assert max(lengths) <= 2**12 + 102
    assert np.sum(lengths) >= len(body) - 1000
