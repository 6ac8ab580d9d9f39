"""Outputs as classes."""

import math
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.context import CallContext
from mlsrv.errors import InvalidPayload
from mlsrv.placement import ModelInfo
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_classification import plugin
from mlsrv_classification.interceptor import Classification, classes_of

ROWS = np.float32([[0.1, 3.3, 2.0], [7.0, -1.0, 7.0]])


def classes(data: Any, count: int, datatype: str = "FP32", shape: list[int] | None = None) -> ResponseOutput:
    shape = list(np.shape(data)) if shape is None else shape
    return classes_of(ResponseOutput("y", shape, datatype, data), count, ())


def test_the_highest_of_each_row_with_its_index() -> None:
    found = classes(ROWS, 2)
    assert (found.name, found.datatype, found.shape) == ("y", "BYTES", [2, 2])
    assert found.data == ["3.300000:1", "2.000000:2", "7.000000:0", "7.000000:2"]


def test_one_dimension_is_one_row() -> None:
    found = classes(ROWS[0], 2)
    assert (found.shape, found.data) == ([2], ["3.300000:1", "2.000000:2"])


def test_further_dimensions_are_classes() -> None:
    found = classes(np.arange(8).reshape(2, 2, 2), 1, "INT64")
    assert (found.shape, found.data) == ([2, 1], ["3:3", "7:3"])


def test_a_scalar_is_one_class() -> None:
    assert classes([1.5], 3, shape=[]).data == ["1.500000:0"]


def test_there_are_no_more_classes_than_elements() -> None:
    assert classes(ROWS, 9).shape == [2, 3]


@pytest.mark.parametrize("shape", [[0], [2, 0], [0, 3]])
def test_an_empty_output_has_no_classes(shape: list[int]) -> None:
    found = classes(np.empty(shape, np.float32), 3, shape=shape)
    assert found.data == []
    assert math.prod(found.shape) == 0
    assert found.shape[:-1] == shape[:-1]


@pytest.mark.parametrize(
    ("datatype", "data", "texts"),
    [
        ("FP64", [1.0, math.nan, math.inf, -math.inf], ["inf:2", "1.000000:0", "-inf:3", "nan:1"]),
        ("FP16", [1.5, 2.5], ["2.500000:1", "1.500000:0"]),
        ("BF16", [1.5, -2.5], ["1.500000:0", "-2.500000:1"]),
        ("INT8", [-128, 127, 0], ["127:1", "0:2", "-128:0"]),
        ("UINT64", [0, 2**64 - 1], [f"{2**64 - 1}:1", "0:0"]),
        ("BOOL", [False, True], ["1:1", "0:0"]),
    ],
)
def test_every_numeric_datatype(datatype: str, data: list[Any], texts: list[str]) -> None:
    assert classes(data, 9, datatype).data == texts


def test_texts_have_no_order() -> None:
    with pytest.raises(InvalidPayload, match='The output "y" is BYTES'):
        classes(["a"], 1, "BYTES")


def test_large_outputs_are_refused() -> None:
    with pytest.raises(InvalidPayload, match="has 1000001 elements"):
        classes(np.zeros(1_000_001, np.float32), 1)


# --- in a kernel ---


class Scores(MLModel):
    async def load(self) -> bool:
        labels = {"labels": ["setosa", "versicolor"]}
        self.outputs = [MetadataTensor("y", "FP32", [-1, 3], labels), MetadataTensor("z", "INT64", [1])]
        self.seen: list[InferenceRequest] = []
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        assert all(output.parameters is None for output in payload.outputs or ())
        return InferenceResponse(
            outputs=[ResponseOutput("y", [2, 3], "FP32", ROWS), ResponseOutput("z", [1], "INT64", [5])]
        )

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[Any]:
        async for payload in payloads:
            yield await self.predict(payload)


def asking(count: Any) -> InferenceRequest:
    wanted = [RequestOutput("y", {"classification": count}), RequestOutput("z")]
    return InferenceRequest([RequestInput("x", [1], "FP32", [1.0])], model_name="m", outputs=wanted)


def serving() -> Kernel:
    model = ModelSettings(name="m", implementation=Scores)
    return Kernel(plugins=[plugin], models=[model], discover=False)


async def test_labels_come_from_the_metadata_and_other_outputs_stay() -> None:
    async with serving() as kernel:
        await kernel.loaded()
        request = asking(2)
        for _ in range(2):  # the request is its sender's, and may be sent again
            y, z = (await kernel.infer(request)).outputs
            assert y.data == ["3.300000:1:versicolor", "2.000000:2", "7.000000:0:setosa", "7.000000:2"]
            assert z.data == [5]


async def test_the_server_lists_the_extension() -> None:
    assert "classification" in serving().server_metadata().extensions
    assert "classification" not in Kernel(discover=False).server_metadata().extensions


async def test_responses_of_a_stream_are_classified() -> None:
    async with serving() as kernel:
        await kernel.loaded()
        found = [response.outputs[0].data async for response in kernel.stream(asking(1))]
        assert found == [["3.300000:1:versicolor", "7.000000:0:setosa"]]


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2", [1]])
async def test_a_count_must_be_a_positive_whole_number(count: Any) -> None:
    async with serving() as kernel:
        await kernel.loaded()
        with pytest.raises(InvalidPayload, match='"y" is asked for with classification'):
            await kernel.infer(asking(count))
        with pytest.raises(InvalidPayload, match='"y" is asked for with classification'):
            await anext(kernel.stream(asking(count)))


async def test_labels_may_come_with_the_output() -> None:
    parameters = Parameters(labels=["low", "high"])
    answer = InferenceResponse(outputs=[ResponseOutput("y", [1, 2], "FP32", [0.25, 0.75], parameters)])

    async def call_next(request: InferenceRequest, context: CallContext) -> InferenceResponse:
        return answer

    [y] = (await Classification(ModelInfo())(asking(2), CallContext(), call_next)).outputs
    assert y.data == ["0.750000:1:high", "0.250000:0:low"]
