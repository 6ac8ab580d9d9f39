"""Workload: what is converted one by one counts, at any depth."""

import asyncio
from typing import Any

import numpy as np
import pytest

from mlsrv_protocol.pieces import PIECE
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_protocol.workload import MANY_VALUES, holds_many_values, is_large, size_in_turns, size_of

FEW = MANY_VALUES // 2


@pytest.mark.parametrize(
    "value",
    [
        [1] * MANY_VALUES,
        {"a": {"b": [["x"] * MANY_VALUES]}},
        [[1]] * MANY_VALUES,
        {str(index): index for index in range(MANY_VALUES)},
        {"a": np.zeros(MANY_VALUES)},
        ([], {"a": ("x",) * MANY_VALUES}),
    ],
    ids=["list", "deep list", "lists", "dict", "array", "tuple"],
)
def test_very_many_values_are_found_wherever_they_are(value: Any) -> None:
    assert holds_many_values(value)


@pytest.mark.parametrize("value", ["x" * MANY_VALUES, b"x" * MANY_VALUES, [1] * FEW, {}, None, [[]] * FEW])
def test_long_texts_and_few_values_are_not_many(value: Any) -> None:
    assert not holds_many_values(value)


def request(*data: Any, outputs: int = 0) -> InferenceRequest:
    inputs = [RequestInput.construct(str(at), [len(one)], "BYTES", one) for at, one in enumerate(data)]
    found = InferenceRequest.construct(inputs)
    found.outputs = [RequestOutput(str(at)) for at in range(outputs)] or None
    return found


def test_lists_tensors_and_requested_outputs_make_a_message_large() -> None:
    assert is_large(request(["x"] * MANY_VALUES))
    assert is_large(request([["x"] * MANY_VALUES]))
    assert is_large(request(*([["x"]] * FEW)))
    assert is_large(request(["x"], outputs=MANY_VALUES))
    assert not is_large(request(["x" * MANY_VALUES] * 10))


def test_numbers_count_where_each_becomes_text() -> None:
    output = ResponseOutput("y", [MANY_VALUES], "FP64", np.zeros(MANY_VALUES))
    response = InferenceResponse(model_name="m", outputs=[output])
    assert is_large(response, as_text=True)
    assert not is_large(response)
    texts = ResponseOutput("y", [MANY_VALUES], "BYTES", np.array(["a"] * MANY_VALUES))
    assert is_large(InferenceResponse(model_name="m", outputs=[texts]))


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (np.zeros(6, np.float32), 24),
        (np.zeros((2, 3)), 48),
        (["four", "", b"abc"], 3 * 8 + 7),
        ([], 0),
        ([1, 2, 3], 24),
        ([[1.0], [2.0]], 2 * 8 + 2),
        (5, 8),
        ("four", 4 * 8 + 4),
        (memoryview(np.zeros((2, 3), np.float32)), 24),
        (memoryview(np.zeros(6, np.float32)), 24),
    ],
)
def test_the_size_of_a_request(data: object, size: int) -> None:
    tensor = RequestInput("x", [1], "FP64", data)
    assert size_of([tensor]) == size
    assert size_of([tensor, tensor]) == 2 * size
    assert asyncio.run(size_in_turns([tensor, tensor])) == 2 * size


def test_the_size_of_long_lists_is_counted_in_turns() -> None:
    tensor = RequestInput("x", [1], "BYTES", ["ab"] * (2 * PIECE + 1))
    assert size_of([tensor]) is None
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def count() -> int:
        other = asyncio.create_task(others())
        size = await size_in_turns([tensor])
        other.cancel()
        return size

    assert asyncio.run(count()) == 10 * (2 * PIECE + 1)
    assert turns >= 3
