"""Workload: what is converted one by one counts, at any depth."""

from typing import Any

import numpy as np
import pytest

from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_protocol.workload import MANY_VALUES, holds_many_values, is_large

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
