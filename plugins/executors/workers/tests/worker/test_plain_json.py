"""Plain JSON: it reads and writes what orjson does."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_workers.worker import plain_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class Level(Enum):
    HIGH = "high"


class Text(str):
    pass


@dataclass
class Point:
    x: int
    _hidden: int = 0


@given(VALUES)
def test_values_are_the_same(value: Any) -> None:
    text = plain_json.dumps(value)
    assert orjson.loads(text) == orjson.loads(orjson.dumps(value))
    assert plain_json.loads(orjson.dumps(value)) == orjson.loads(orjson.dumps(value))


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "ä\n\u2028"]},
        [float("nan"), float("inf")],
        [1.5, 2.5],
        [-(2**63), 2**64 - 1],
        (1, 2),
        Level.HIGH,
        Text("a"),
        Point(1),
        UUID(int=5),
        datetime(2020, 1, 2, 3, tzinfo=UTC),
        date(2020, 1, 2),
        np.array([[1, 2], [3, 4]], np.int8),
        np.array([0.1, np.nan], np.float32),
        np.array([True, False]),
        np.float64(0.5),
        np.int64(7),
    ],
)
def test_what_else_can_be_written(value: Any) -> None:
    options = {"option": orjson.OPT_SERIALIZE_NUMPY}
    assert orjson.OPT_SERIALIZE_NUMPY == plain_json.OPT_SERIALIZE_NUMPY
    assert json.loads(plain_json.dumps(value, **options)) == json.loads(orjson.dumps(value, **options))


@pytest.mark.parametrize("value", [{1: 2}, 2**64, [2**64], "\ud800", object(), np.array(["a"]), b"a"])
def test_what_cannot_be_written_is_refused_alike(value: Any) -> None:
    for module in (orjson, plain_json):
        with pytest.raises(TypeError):
            module.dumps(value, option=module.OPT_SERIALIZE_NUMPY)


def test_what_is_nested_too_deep_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    for module in (orjson, plain_json):
        with pytest.raises(TypeError):
            module.dumps(value)
        with pytest.raises(module.JSONDecodeError):
            module.loads("[" * 100_000)
    while value:
        value = value[0]  # a deep list is freed level by level


def test_others_go_through_the_default_and_fragments_as_they_are() -> None:
    text = plain_json.dumps(
        [b"a", plain_json.Fragment(b"1.50"), plain_json.Fragment("2")], default=bytes.decode
    )
    assert text == b'["a",1.50,2]'


@pytest.mark.parametrize(
    "text",
    [b"NaN", b"[1,]", b"", b"\xff", b'"\\ud800"', b"\xef\xbb\xbf1", b"01", b'"\n"', b"1 2", b"[Infinity]"],
)
def test_what_is_no_json_is_refused_alike(text: bytes) -> None:
    for module in (orjson, plain_json):
        with pytest.raises(module.JSONDecodeError):
            module.loads(text)


@pytest.mark.parametrize(
    "text", ["18446744073709551615", "18446744073709551616", "-9223372036854775809", "1" * 40]
)
def test_large_integers_are_read_alike(text: str) -> None:
    found, wanted = plain_json.loads(text), orjson.loads(text)
    assert (type(found), found) == (type(wanted), wanted)


def test_all_kinds_of_text_are_read() -> None:
    for text in (b'{"a": 1}', bytearray(b'{"a": 1}'), memoryview(b'{"a": 1}'), '{"a": 1}'):
        assert plain_json.loads(text) == {"a": 1}
