import sys
import tracemalloc

import numpy as np
import pytest

from mlsrv_protocol import InvalidPayload, Parameters
from mlsrv_protocol.validation import (
    MAX_DIMENSIONS,
    MAX_ELEMENTS,
    check_count,
    check_name,
    check_parameter_values,
    check_request_parameters,
    check_shape,
    check_unique,
)


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ([], 1),
        ([1], 1),
        ([2, 3], 6),
        ([0], 0),
        ([3, 0, 2], 0),
        ([1] * MAX_DIMENSIONS, 1),
        ([MAX_ELEMENTS], MAX_ELEMENTS),
    ],
)
def test_the_number_of_elements_of_a_shape(shape: list[int], count: int) -> None:
    assert check_shape(shape) == count


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (None, "shape is missing"),
        ("3", 'shape is "3"; it must be an array'),
        ({}, "shape is an object"),
        (3, "shape is 3"),
        ([-1], "shape contains -1"),
        ([1.0], "shape contains 1.0"),
        ([True], "shape contains true"),
        (["1"], 'shape contains "1"'),
        ([None], "shape contains null"),
        ([[1]], "shape contains an array"),
        ([1] * (MAX_DIMENSIONS + 1), "shape has 33 dimensions; at most 32"),
        ([1] * 10**6, "shape has 1000000 dimensions"),
        ([2**63 - 1], "more elements than any tensor"),
        ([2**64], "more elements than any tensor"),
        ([2**32, 2**32], r"shape \[4294967296, 4294967296\] means more elements"),
        ([2**63 - 1] * 32, "more elements than any tensor"),
        ([0, 2**62], "more elements than any tensor"),
    ],
)
def test_a_wrong_shape_is_refused(shape: object, problem: str) -> None:
    with pytest.raises(InvalidPayload, match=problem) as caught:
        check_shape(shape)
    assert len(str(caught.value)) < 300


def test_numpy_can_make_every_accepted_shape() -> None:
    np.empty(0, np.float64).reshape([0, MAX_ELEMENTS])
    np.empty(1, np.float64).reshape([1] * MAX_DIMENSIONS)


def test_a_huge_shape_allocates_nothing() -> None:
    tracemalloc.start()
    try:
        for shape in ([2**31, 2**31], [2**63 - 1] * 32, [0, 2**62], [2**59]):
            try:
                check_count(4, shape, check_shape(shape))
            except InvalidPayload:
                continue
            pytest.fail("the shape was let through")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [None, "", 5, [], True])
def test_a_wrong_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidPayload, match=r"^name is "):
        check_name(name)


def test_names_are_unique() -> None:
    check_unique(["a", "b"], "inputs")
    with pytest.raises(InvalidPayload, match='inputs has two tensors called "a"'):
        check_unique(["a", "b", "a"], "inputs")


def test_the_count_of_elements_must_fit_the_shape() -> None:
    check_count(6, [2, 3], 6)
    with pytest.raises(InvalidPayload, match=r"^data has 1 element, but shape \[2, 3\] means 6\.$"):
        check_count(1, [2, 3], 6)


@pytest.mark.parametrize("sequence", [0, "", None])
def test_a_sequence_id_of_zero_or_an_empty_string_is_accepted(sequence: object) -> None:
    check_request_parameters(Parameters(sequence_id=sequence, sequence_start=True))
    check_request_parameters(Parameters())


@pytest.mark.parametrize("sequence", [1, "a", 1.5, True, [], False, 0.0])
def test_sequences_are_refused(sequence: object) -> None:
    with pytest.raises(InvalidPayload, match="sequences are not supported"):
        check_request_parameters(Parameters(sequence_id=sequence))


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_parameters_are_nested_up_to_a_limit() -> None:
    check_parameter_values({"a": nested(32), "b": {"c": [1, None, "x"]}})
    for depth in (33, sys.getrecursionlimit() * 2):
        with pytest.raises(InvalidPayload, match="more than 32 levels"):
            check_parameter_values({"a": nested(depth)})


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"b": [{"c": -float("inf")}]}])
def test_parameters_are_finite(value: object) -> None:
    with pytest.raises(InvalidPayload, match="NaN or an infinity"):
        check_parameter_values({"a": value})
