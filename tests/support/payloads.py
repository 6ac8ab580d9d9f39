"""Strategies for the payloads of every content type."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

texts = st.text(st.characters(exclude_categories=["Cs"]))
moments = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
arrays = hnp.arrays(
    st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(),
        hnp.unsigned_integer_dtypes(),
        hnp.floating_dtypes(sizes=(16, 32, 64)),
    ),
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=3),
)
columns: list[tuple[st.SearchStrategy[Any], Any]] = [
    (st.integers(-(2**63), 2**63 - 1), "int64"),
    (st.floats(width=32), "float32"),
    (st.booleans(), "bool"),
    (texts, None),
    (st.binary(), object),
    (st.none() | texts, object),
    (st.none() | texts, "string"),
    (st.none() | st.integers(-(2**63), 2**63 - 1), "Int64"),
    (st.none() | st.booleans(), "boolean"),
    (st.none() | st.sampled_from("ab"), pd.CategoricalDtype(["b", "a"], ordered=True)),
    (st.none() | moments, "datetime64[ns]"),
    (st.dictionaries(texts, st.integers(-9, 9) | st.lists(texts, max_size=2), max_size=2), object),
]

lists_of_texts = st.lists(texts, max_size=4)
lists_of_bytes = st.lists(st.binary(), max_size=4)
lists_of_dates = st.lists(st.datetimes() | st.datetimes(timezones=st.timezones()), max_size=4)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Up to three rows and three columns, of any types that survive."""
    rows = draw(st.integers(1, 3))
    made = {}
    for name in draw(st.lists(texts.filter(bool), unique=True, min_size=1, max_size=3)):
        cells, dtype = draw(st.sampled_from(columns))
        made[name] = pd.Series(draw(st.lists(cells, min_size=rows, max_size=rows)), dtype=dtype)
    return pd.DataFrame(made)


def assert_same_frame(found: Any, frame: pd.DataFrame) -> None:
    """To the last bit, types of columns included."""
    pd.testing.assert_frame_equal(
        found, frame, check_exact=True, check_column_type=False, check_index_type=False
    )
