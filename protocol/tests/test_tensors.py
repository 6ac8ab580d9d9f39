"""Numeric data that model authors and codecs may give; `test_json_data.py` covers the rules of JSON."""

from collections import deque
from fractions import Fraction

import numpy as np
import pytest

from mlsrv_protocol import Datatype, InvalidPayload
from mlsrv_protocol.tensors import numeric

GRID = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("data", "datatype", "expected"),
    [
        (GRID, "FP32", [0, 1, 2, 3, 4, 5]),
        (GRID.T, "FP32", [0, 3, 1, 4, 2, 5]),
        (np.asfortranarray(GRID), "FP32", [0, 1, 2, 3, 4, 5]),
        (GRID[:, ::2], "FP32", [0, 2, 3, 5]),
        (GRID.astype(">f8"), "FP32", [0, 1, 2, 3, 4, 5]),
        (GRID, "INT8", [0, 1, 2, 3, 4, 5]),
        (GRID, "UINT64", [0, 1, 2, 3, 4, 5]),
        (np.array([True, False]), "INT8", [1, 0]),
        (np.array([True, False]), "FP16", [1, 0]),
        (np.array([1, 0]), "BOOL", [True, False]),
        (np.array([1.0, 0.0]), "BOOL", [True, False]),
        (np.array(2**64 - 1, dtype=np.uint64), "UINT64", [2**64 - 1]),
        (np.array([-128, 127]), "INT8", [-128, 127]),
        (np.array([1e300, np.nan, np.inf]), "FP64", [1e300, np.nan, np.inf]),
        (np.array([1, np.nan, -np.inf]), "FP16", [1, np.nan, -np.inf]),
        (np.array([0x3FC0], dtype=np.uint16), "BF16", [0x3FC0]),
        (np.array([1.5, np.inf]), "BF16", [0x3FC0, 0x7F80]),
        ([1.5, None], "FP64", [1.5, np.nan]),
        ([np.float32(1.5), 2], "FP32", [1.5, 2]),
        ([np.array([1, 2]), np.array([3, 4])], "INT16", [1, 2, 3, 4]),
        ([(1, 2), (3, 4)], "INT16", [1, 2, 3, 4]),
        ((1, 2), "INT16", [1, 2]),
        (range(3), "INT16", [0, 1, 2]),
        (5, "INT16", [5]),
        (np.float32(5), "FP32", [5]),
        ([10**308], "FP64", [1e308]),
        ([], "FP32", []),
        (np.empty((0, 3)), "INT8", []),
    ],
)
def test_values_that_the_datatype_can_hold(data: object, datatype: str, expected: list[float]) -> None:
    found = numeric(data, Datatype(datatype))
    assert found.dtype == Datatype(datatype).dtype
    assert found.ndim == 1
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.array(expected, dtype=Datatype(datatype).dtype))


@pytest.mark.parametrize(
    ("data", "datatype", "problem"),
    [
        (np.array([1.5]), "INT8", r"data\[0\] is 1.5, but INT8 takes only whole numbers from -128 to 127"),
        (np.array([0, 300]), "INT8", r"data\[1\] is 300"),
        (np.array([-1]), "UINT64", r"data\[0\] is -1"),
        (np.array([2**63], dtype=np.uint64), "INT64", r"data\[0\] is 9223372036854775808"),
        (np.array([2.0**63]), "INT64", r"data\[0\] is 9.2"),
        (np.array([np.nan]), "INT8", r"data\[0\] is NaN"),
        (np.array([2]), "BOOL", r"data\[0\] is 2, but BOOL takes only true, false, 0 and 1"),
        (np.array([0.5]), "BOOL", r"data\[0\] is 0.5"),
        (
            np.array([1.0, 1e39]),
            "FP32",
            r"data\[1\] is 1e\+39, but FP32 takes only numbers up to ±3.40282e\+38",
        ),
        (np.array([65520.0]), "FP16", r"data\[0\] is 65520.0"),
        (np.array([70000]), "FP16", r"data\[0\] is 70000"),
        (np.array([3.4e38]), "BF16", r"data\[0\] is 3.4e\+38"),
        (np.array([1]), "BF16", "numpy array of int64, which cannot be sent as BF16"),
        (np.array([1j]), "FP32", "numpy array of complex128"),
        (np.array(["1"]), "FP32", "numpy array of <U1"),
        (np.array([None]), "FP32", "numpy array of object"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "INT64", r"numpy array of datetime64\[D\]"),
        ([10**400], "FP64", "an integer of more than 256 bits, but FP64"),
        ([[1], [1, 2]], "FP32", "ragged"),
        ([np.array([1]), np.array([1, 2])], "FP32", "ragged"),
        ([(1,), (1, 2)], "FP32", "ragged"),
        ("1", "FP32", 'data is "1", which cannot be sent'),
        (b"1", "FP32", 'data is "1", which cannot be sent'),
        (None, "FP32", "data is null"),
        ({}, "FP32", "data is an object"),
        ([{}], "FP32", r"data\[0\] is an object"),
        ([b"1"], "FP32", r'data\[0\] is "1"'),
        ([Fraction(1, 2)], "FP32", "data is an array, which cannot be sent as FP32"),
        (deque([object()]), "INT8", "a value of type deque"),
    ],
)
def test_values_that_the_datatype_cannot_hold(data: object, datatype: str, problem: str) -> None:
    with pytest.raises(InvalidPayload, match=problem):
        numeric(data, Datatype(datatype))


def test_values_are_rounded_not_refused_at_the_edge() -> None:
    assert numeric([65519.9], Datatype.FP16)[0] == 65504
    assert numeric([float(np.finfo(np.float32).max) * (1 + 2**-26)], Datatype.FP32)[0] < np.inf
    assert numeric([1e-60], Datatype.FP32)[0] == 0


def test_an_array_of_the_right_kind_is_not_copied() -> None:
    for array in (GRID, np.zeros(3, np.uint8), np.zeros(2, np.uint64), np.zeros(2, np.bool_)):
        assert np.shares_memory(numeric(array, Datatype.from_numpy(array.dtype)), array)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16"])
def test_one_bad_element_among_a_million_is_found(datatype: str) -> None:
    data: list[object] = [0.5] * 1_000_000
    data[999_999] = "x"
    with pytest.raises(InvalidPayload, match=rf'data\[999999\] is "x", but {datatype} takes'):
        numeric(data, Datatype(datatype))
