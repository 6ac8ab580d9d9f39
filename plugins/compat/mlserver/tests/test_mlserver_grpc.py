"""gRPC: stubs and converters against a server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import mlserver.grpc.dataplane_pb2 as pb
import pytest
from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.types import InferenceRequest, InferenceResponse

import mlsrv
from served import served

REQUEST = InferenceRequest.model_validate(
    {
        "inputs": [
            {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[0.5, 1.0], [2.0, 3.0]]},
            {"name": "s", "shape": [1], "datatype": "BYTES", "data": ["a"]},
        ]
    }
)


@pytest.mark.parametrize("use_raw", [False, True])
def test_requests_go_there_and_back(use_raw: bool) -> None:
    message = ModelInferRequestConverter.from_types(REQUEST, "m", "v1", use_raw)
    assert isinstance(message, pb.ModelInferRequest)
    assert (message.model_name, message.model_version) == ("m", "v1")
    assert bool(message.raw_input_contents) is use_raw
    found = ModelInferRequestConverter.to_types(message)
    assert list(found.inputs[0].data) == [0.5, 1.0, 2.0, 3.0]
    assert list(found.inputs[1].data) == [b"a"]


def test_responses_go_there_and_back() -> None:
    output = {"name": "y", "shape": [1], "datatype": "INT64", "data": [7]}
    response = InferenceResponse.model_validate({"model_name": "m", "outputs": [output]})
    found = ModelInferResponseConverter.to_types(ModelInferResponseConverter.from_types(response))
    assert found.outputs[0].data.root == [7]


async def test_a_client_of_mlserver_against_a_server() -> None:
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": [-1],
        "parameters": {"content_type": "np", "threshold": 0.5},
    }
    model = mlsrv.ModelSettings(
        name="echo", implementation="mlsrv.testing.models.EchoModel", inputs=[tensor], check_inputs=False
    )
    async with served([model], parallel_workers=0) as found:
        answer, metadata = await asyncio.to_thread(ask, found.grpc)
    assert [output.name for output in answer.outputs] == ["x", "s"]
    assert metadata.inputs[0].parameters["content_type"].string_param == "np"
    assert metadata.inputs[0].parameters["threshold"].double_param == 0.5


def ask(address: str) -> tuple[Any, Any]:
    with grpc.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(ModelInferRequestConverter.from_types(REQUEST, "echo"), timeout=30)
        metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name="echo"), timeout=30)
        with pytest.raises(AttributeError, match="has no method Nothing"):
            _ = stub.Nothing
        return ModelInferResponseConverter.to_types(answer), metadata


def test_unknown_messages() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = pb.Nothing
