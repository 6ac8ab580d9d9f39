"""The content type ``dict``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

import mlsrv
import mlsrv_numpy.plugin
import mlsrv_text.plugin
from mlsrv.errors import CodecError
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput
from mlsrv_mlflow import TensorDictCodec, plugin
from mlsrv_testing.contracts import RequestCodecContract


class TestContract(RequestCodecContract):
    codec = TensorDictCodec
    offers: ClassVar[Any] = mlsrv_numpy.plugin.mlsrv_codecs()
    samples: ClassVar[Any] = [
        {"a": np.array([[1.5, 2.5]], np.float32)},
        {
            "a": np.array([[1], [2]]),
            "b": np.array([[True], [False]]),
            "words": np.array([["x"], ["y"]], object),
        },
        {"picture": np.zeros((2, 3, 4), np.uint8)},
    ]
    garbage: ClassVar[Any] = [
        InferenceRequest(
            inputs=[RequestInput("a", [1], "FP32", [1.0]), RequestInput("a", [1], "FP32", [2.0])]
        ),
        InferenceRequest(inputs=[RequestInput("a", [3], "FP32", [1.0])]),
    ]


def test_payloads_that_it_does_not_encode() -> None:
    for payload in ([np.zeros(1)], {"a": [1]}, {1: np.zeros(1)}, "a"):
        assert not TensorDictCodec.can_encode(payload)


def test_an_answer_with_two_outputs_of_one_name_is_refused() -> None:
    twice = [ResponseOutput("a", [1], "FP32", [1.0])] * 2
    with pytest.raises(CodecError, match='Two tensors are called "a"'):
        TensorDictCodec.decode_response(InferenceResponse(outputs=twice))


class Kinds(mlsrv.MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        decoded = self.decode_request(payload)
        return self.encode_response(
            {name: np.array([type(value).__name__]) for name, value in decoded.items()}
        )


async def test_inputs_may_have_content_types_of_their_own() -> None:
    plugins = [plugin, mlsrv_numpy.plugin, mlsrv_text.plugin]
    model = mlsrv.ModelSettings(name="kinds", implementation=Kinds)
    async with mlsrv.Kernel(plugins=plugins, models=[model], discover=False) as kernel:
        await kernel.loaded()
        request = InferenceRequest(
            model_name="kinds",
            parameters=Parameters(content_type="dict"),
            inputs=[
                RequestInput("text", [1], "BYTES", ["a"], Parameters(content_type="str")),
                RequestInput("array", [1], "FP32", [1.0], Parameters(content_type="np")),
                RequestInput("bare", [1], "FP32", [1.0]),
            ],
        )
        found = TensorDictCodec.decode_response(await kernel.infer(request))
    assert {name: value.ravel().tolist() for name, value in found.items()} == {
        "text": ["list"],
        "array": ["ndarray"],
        "bare": ["ndarray"],
    }
