"""Columns and tensors, without Spark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlsrv.errors import InferenceError, InputsNotFound
from mlsrv.types import MetadataTensor
from mlsrv_mllib.columns import Column, fitted_columns

TWO = [Column("size", "double"), Column("name", "string")]


def test_numbers_are_made_the_columns_type() -> None:
    assert Column("a", "double").fitted("m", np.array([[1], [2]], np.int32)).dtype == np.float64
    assert Column("a", "int").fitted("m", np.array([1, 2])).dtype == np.int32
    assert Column("a", "double").fitted("m", np.array([1, None], object)).tolist()[0] == 1.0
    assert Column("a", "boolean").fitted("m", np.array([True])).dtype == bool
    lists = np.empty(2, object)
    lists[:] = [[1, 2], [3, 4]]
    assert Column("a", "vector", 2).fitted("m", lists).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_texts_are_text() -> None:
    sent = np.array([b"one", "two", None, float("nan")], object)
    assert Column("a", "string").fitted("m", sent).tolist() == ["one", "two", None, None]
    assert Column("a", "array<string>", -1).fitted("m", np.array([["a", "b"]])).tolist() == [["a", "b"]]


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        (Column("a", "double"), np.zeros((2, 3)), r'"a" takes FP64 of shape \[rows\] or .* shape \[2, 3\]'),
        (Column("a", "double"), ["x"], "takes FP64 .* the text 'x' was sent"),
        (Column("a", "double"), np.array([b"1"], object), "the text b'1' was sent"),
        (Column("a", "double"), np.array([{}], object), "something else was sent"),
        (Column("a", "int"), np.array([2**40]), "takes INT32 .* but int64 was sent"),
        (Column("a", "int"), np.array([0.5]), "but float64 was sent"),
        (Column("a", "vector", 3), np.zeros((2, 2)), r"shape \[rows, 3\], but shape \[2, 2\] was sent"),
        (Column("a", "vector", 3), np.array([[1], [2, 3], 0], object), "was sent"),
        (Column("a", "string"), np.array([1.0]), "takes texts .* but float64 was sent"),
        (Column("a", "string"), np.array([1], object), "but 1 was sent"),
        (Column("a", "string"), np.array([b"\xff"], object), "not UTF-8"),
    ],
)
def test_values_that_do_not_fit_the_column_are_refused(column: Column, values: Any, text: str) -> None:
    with pytest.raises(InferenceError, match=text):
        column.fitted("m", values)


def test_columns_come_by_name_or_in_their_order() -> None:
    frame = pd.DataFrame({"name": ["a"], "size": [1.5]})
    for sent in (frame, {"name": np.array(["a"]), "size": np.array([1.5])}):
        found = fitted_columns("m", TWO, sent)
        assert {name: array.tolist() for name, array in found.items()} == {"size": [1.5], "name": ["a"]}
    numbers = [Column("a", "double"), Column("b", "double")]
    assert fitted_columns("m", numbers, np.array([[1.0, 2.0]]))["b"].tolist() == [2.0]
    assert fitted_columns("m", [Column("v", "vector", 2)], np.array([[1.0, 2.0]]))["v"].shape == (1, 2)


def test_wrong_columns_are_named() -> None:
    with pytest.raises(InputsNotFound, match="needs the inputs name; it takes name, size"):
        fitted_columns("m", TWO, {"size": [1.0]})
    with pytest.raises(InputsNotFound, match="does not know the inputs more"):
        fitted_columns("m", TWO, {"size": [1.0], "name": ["a"], "more": [1]})
    with pytest.raises(InferenceError, match="differ in their number of rows"):
        fitted_columns("m", TWO, {"size": [1.0, 2.0], "name": ["a"]})
    with pytest.raises(InferenceError, match=r"takes 2 columns \(size, name\), but .* \[1, 3\]"):
        fitted_columns("m", TWO, np.zeros((1, 3)))
    with pytest.raises(InferenceError, match="decoded as a list"):
        fitted_columns("m", TWO, [1.0])


def test_declared_tensors_are_columns() -> None:
    def declared(datatype: str, shape: list[int]) -> tuple[str, int]:
        column = Column.declared(MetadataTensor("a", datatype, shape))
        return column.kind, column.width

    assert declared("INT64", [-1]) == ("bigint", 1)
    assert declared("BYTES", [-1, 1]) == ("string", 1)
    assert declared("FP64", [-1, 4]) == ("vector", 4)
    assert declared("BYTES", [-1, -1]) == ("array<string>", -1)


@settings(deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(0, 5), st.integers(1, 4))))
def test_vectors_survive_arrow(array: Any) -> None:
    column = Column("a", "vector", array.shape[1])
    table = pa.table({"a": column.to_arrow(array)})
    np.testing.assert_array_equal(column.from_arrow("m", table["a"]), array)


@settings(deadline=None)
@given(st.lists(st.text()))
def test_texts_survive_arrow(texts: list[str]) -> None:
    column = Column("a", "string")
    array = column.fitted("m", np.array(texts, object))
    table = pa.table({"a": column.to_arrow(array)})
    assert column.from_arrow("m", table["a"]).tolist() == texts


def test_results_that_no_tensor_holds_are_refused() -> None:
    ragged = pa.chunked_array([pa.array([[1.0], [1.0, 2.0]])])
    with pytest.raises(InferenceError, match="differ in length"):
        Column("a", "vector", -1).from_arrow("m", ragged)
    with pytest.raises(InferenceError, match='output "a": some rows have no value'):
        Column("a", "string").from_arrow("m", pa.chunked_array([pa.array(["x", None])]))
    missing = Column("a", "double").from_arrow("m", pa.chunked_array([pa.array([1.0, None])]))
    np.testing.assert_array_equal(missing, [1.0, np.nan])
