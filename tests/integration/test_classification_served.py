"""Outputs as classes, asked for over REST and gRPC."""

from __future__ import annotations

import pytest

from mlsrv import ModelSettings
from mlsrv.testing import EchoModel
from mlsrv.types import InferenceRequest, RequestInput, RequestOutput
from mlsrv_protocol.client import AsyncClient
from mlsrv_protocol.errors import MLSrvError
from served import served

ECHO = ModelSettings(name="echo", implementation=EchoModel)
EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "drift",
    "generate",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
]


def asking(count: int) -> InferenceRequest:
    scores = RequestInput("x", [1, 3], "FP32", [0.25, 2.0, 1.5])
    return InferenceRequest([scores], outputs=[RequestOutput("x", {"classification": count})])


@pytest.mark.parametrize("scheme", ["http", "grpc"])
async def test_classes_over_every_transport(scheme: str) -> None:
    async with served([ECHO]) as found:
        endpoint = found.rest if scheme == "http" else f"grpc://{found.grpc}"
        async with AsyncClient(endpoint) as client:
            (output,) = (await client.infer("echo", asking(2))).response.outputs
            assert output.shape == [1, 2]
            assert [text if isinstance(text, str) else text.decode() for text in output.data] == [
                "2.000000:1",
                "1.500000:2",
            ]
            with pytest.raises(MLSrvError, match="must be a whole number from 1 up"):
                await client.infer("echo", asking(0))
            assert (await client.metadata()).extensions == EXTENSIONS
