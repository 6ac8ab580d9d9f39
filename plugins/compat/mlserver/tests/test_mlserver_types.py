"""Types: pydantic's methods, and data that is read as lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlserver.types import InferenceRequest, Parameters, RequestInput, TensorData


def test_data_of_an_array_is_made_when_it_is_read() -> None:
    array = np.arange(6, dtype=np.int32)
    data = TensorData.of_array(array, [2, 3])
    assert data.array is array
    assert data.root == [[0, 1, 2], [3, 4, 5]]
    assert type(data[0][0]) is int
    assert len(data) == 2
    assert np.array(data).dtype == np.int64


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", [0.1, 1e9, -2.5]),
        ("float16", [0.5, 2.0]),
        ("float64", [0.1, 1 / 3]),
        ("bool", [True, False]),
        ("uint64", [2**64 - 1]),
    ],
)
def test_numbers_are_those_of_the_client(dtype: str, values: list[float]) -> None:
    data = TensorData.of_array(np.array(values, dtype=dtype))
    assert data.root == values
    assert {type(value) for value in data} == {type(value) for value in values}


def test_infinities_stay() -> None:
    found = TensorData.of_array(np.array([np.inf, -np.inf, 0.5], dtype=np.float32)).root
    assert found == [np.inf, -np.inf, 0.5]


def test_a_changed_value_replaces_the_array() -> None:
    data = TensorData.of_array(np.array([1, 2]))
    data[0] = 7
    assert data.array is None
    assert list(data) == [7, 2]


def test_messages_are_written_without_what_is_not_set(tmp_path: Path) -> None:
    request = InferenceRequest(inputs=[RequestInput(name="x", shape=[1], datatype="INT32", data=[1])])
    plain = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]}
    assert request.dict() == request.model_dump() == plain
    file = tmp_path / "request.json"
    file.write_text(request.json(), encoding="utf-8")
    again = InferenceRequest.parse_file(file)
    assert again == request == InferenceRequest.parse_raw(request.json()) == InferenceRequest.parse_obj(plain)
    assert request.copy(update={"id": "7"}).id == "7"


def test_keys_of_any_name_are_parameters() -> None:
    parameters = Parameters(temperature=0.5)
    assert parameters.temperature == 0.5  # type: ignore[attr-defined]  # a key of the message
    assert parameters.model_dump() == {"temperature": 0.5}
