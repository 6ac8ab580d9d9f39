"""Columns: what is looked at of requests and answers."""

from typing import Any

import numpy as np
import pytest

from mlsrv.types import RequestInput
from mlsrv_drift.columns import LARGEST, MOST_TEXTS, columns_of, cut


def tensor(data: Any, shape: list[int], datatype: str = "FP32", name: str = "x") -> RequestInput:
    return RequestInput(name=name, shape=shape, datatype=datatype, data=data)


def read(*tensors: RequestInput) -> dict[str, list[Any]]:
    return {column.name: column.values.tolist() for column in columns_of(cut(tensors))}


def test_a_matrix_has_a_column_for_each_feature() -> None:
    assert read(tensor(np.arange(6, dtype=np.float32), [3, 2])) == {"x[0]": [0, 2, 4], "x[1]": [1, 3, 5]}
    assert read(tensor(np.arange(3), [3, 1], "INT64")) == {"x": [0, 1, 2]}
    assert read(tensor(np.array([7.0]), [], "FP64")) == {"x": [7]}


def test_tensors_are_columns_of_their_names() -> None:
    colour = tensor(["red", b"blue", None], [3], "BYTES", "colour")
    flag = tensor(np.array([True, False, True]), [3], "BOOL", "flag")
    assert read(colour, flag) == {"colour": ["red", "blue", None], "flag": ["true", "false", "true"]}


@pytest.mark.parametrize("data", [[1.0, 2.0, 3.0, 4.0], [[1.0, 2.0], [3.0, 4.0]]], ids=["flat", "nested"])
def test_lists_of_numbers(data: Any) -> None:
    assert read(tensor(data, [2, 2])) == {"x[0]": [1, 3], "x[1]": [2, 4]}


def test_bfloat16_is_told_by_its_bit_patterns() -> None:
    assert read(tensor(np.array([0x3F80, 0x4000], np.uint16), [2], "BF16")) == {"x": [1.0, 2.0]}


def test_a_picture_has_a_mean_and_a_spread() -> None:
    values = np.array([[[1.0, 3.0]], [[5.0, 5.0]]])
    assert read(tensor(values.reshape(-1), [2, 1, 2], "FP64")) == {"mean(x)": [2, 5], "spread(x)": [1, 0]}
    assert set(read(tensor(np.zeros(2000), [2, 1000], "FP64"))) == {"mean(x)", "spread(x)"}
    assert read(tensor(["a"] * 8, [2, 2, 2], "BYTES")) == {}


def test_what_is_looked_at_is_a_copy_and_bounded() -> None:
    values = np.arange(4.0)
    (copy,) = cut([tensor(values, [4], "FP64")])
    values[:] = 0
    assert copy.values.tolist() == [0, 1, 2, 3]
    (large,) = cut([tensor(np.arange(1_000_000.0), [500_000, 2], "FP64")])
    assert large.values.nbytes <= LARGEST
    assert large.values[0].tolist() == [0, 1]
    assert large.values[-1, 0] > 900_000
    assert len(read(tensor(["a"] * 1000, [1000], "BYTES"))["x"]) == MOST_TEXTS


@pytest.mark.parametrize("shape", [[0], [0, 4], [4, 0]])
def test_an_empty_tensor_has_no_values(shape: list[int]) -> None:
    assert not any(read(tensor(np.empty(0), shape, "FP64")).values())
