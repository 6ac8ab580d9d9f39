"""JSON literals: texts with bare NaN and infinities become what Python's own parser makes of them."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_protocol import InvalidPayload
from mlsrv_protocol.json import decode_request
from mlsrv_protocol.json_literals import loads_literals
from mlsrv_protocol.json_text import loads_message

NUMBERS = st.one_of(st.floats(), st.integers(-(2**53), 2**53), st.booleans(), st.none())
TEXTS = st.text(st.characters(exclude_characters="\x7f", exclude_categories=["Cs"]))
WORDS = st.sampled_from(["NaN", "Infinity", "-Infinity", '"NaN"', "\\", '\\"NaN', "N", 'a"b'])
VALUES = st.recursive(
    NUMBERS | TEXTS | WORDS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS | WORDS, inner, max_size=4),
    max_leaves=20,
)


def plain(value: Any) -> Any:
    """A value in which NaN equals NaN."""
    return repr(value)


@given(VALUES)
def test_what_python_writes_is_read_as_python_reads_it(value: Any) -> None:
    text = json.dumps({"a": value, "b": math.nan}, ensure_ascii=False)
    assert plain(loads_literals(text.encode())) == plain(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "[-NaN]",
        "[NaN5]",
        "[1NaN]",
        "[NaNNaN]",
        "[+Infinity]",
        "{NaN: 1}",
        "[NaN",
        "[nan]",
        "[Infinityy]",
    ],
)
def test_words_in_the_wrong_place_are_no_json(text: str) -> None:
    with pytest.raises(InvalidPayload, match="not valid JSON"):
        decode_request(text)


def test_the_character_that_marks_the_words_may_not_be_in_the_text() -> None:
    for character in ("\x7f", "\\u007f", "\\u007F"):
        with pytest.raises(InvalidPayload, match=r"U\+007F"):
            loads_message(f'{{"id": "{character}", "a": NaN}}', "inputs")
    assert loads_message('{"id": "\x7f", "a": 1}', "inputs")["id"] == "\x7f"


def test_deep_texts_are_refused() -> None:
    with pytest.raises(InvalidPayload, match="nested too deep"):
        loads_message("[NaN, " + "[" * 900 + "]" * 900 + "]", "inputs")
