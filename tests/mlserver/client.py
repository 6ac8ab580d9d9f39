"""Ask a server with MLServer's own stubs, in MLServer's environment: client.py HOST:PORT

Prints a JSON object of what was answered.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from mlserver.grpc import converters, model_repository_pb2, model_repository_pb2_grpc
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.types import InferenceRequest

SECONDS = 30


def main(target: str) -> dict[str, Any]:
    """Return the answers to one call of each kind, about models of the idioms."""
    found: dict[str, Any] = {}
    with grpc.insecure_channel(target) as channel:
        stub = GRPCInferenceServiceStub(channel)
        found["live"] = stub.ServerLive(pb.ServerLiveRequest(), timeout=SECONDS).live
        found["ready"] = stub.ServerReady(pb.ServerReadyRequest(), timeout=SECONDS).ready
        asked = pb.ModelReadyRequest(name="Described", version="v1")
        found["model ready"] = stub.ModelReady(asked, timeout=SECONDS).ready
        described = stub.ModelMetadata(
            pb.ModelMetadataRequest(name="Described", version="v1"), timeout=SECONDS
        )
        found["metadata"] = MessageToDict(described)
        found["metadata"].pop("versions", None)
        for raw in (False, True):
            message = converters.ModelInferRequestConverter.from_types(
                numbers(), model_name="Batched", model_version="v1", use_raw=raw
            )
            answer = stub.ModelInfer(message, timeout=SECONDS)
            found[f"infer raw={raw}"] = plain(converters.ModelInferResponseConverter.to_types(answer))
        words = converters.ModelInferRequestConverter.from_types(
            texts(), model_name="Streams", model_version="v1"
        )
        streamed = stub.ModelStreamInfer(iter([words]), timeout=SECONDS)
        found["stream"] = [plain(converters.ModelInferResponseConverter.to_types(one)) for one in streamed]
        index = stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=SECONDS)
        found["index"] = sorted(model.name for model in index.models)
        old = model_repository_pb2_grpc.ModelRepositoryServiceStub(channel)
        index = old.RepositoryIndex(model_repository_pb2.RepositoryIndexRequest(), timeout=SECONDS)
        found["old index"] = sorted(model.name for model in index.models)
        for call, request in (("Unload", "RepositoryModelUnload"), ("Load", "RepositoryModelLoad")):
            message = getattr(model_repository_pb2, f"{request}Request")(model_name="Endpoint")
            getattr(old, request)(message, timeout=SECONDS)
            found[f"old {call}"] = True
        try:
            unknown = pb.ModelInferRequest(model_name="unknown")
            stub.ModelInfer(unknown, timeout=SECONDS)
        except grpc.RpcError as error:
            found["unknown"] = error.code().name
    return found


def numbers() -> InferenceRequest:
    """A request with a matrix."""
    tensor = {"name": "x", "shape": [2, 2], "datatype": "INT32", "data": [1, 2, 3, 4]}
    return InferenceRequest.model_validate({"inputs": [tensor]})


def texts() -> InferenceRequest:
    """A request with one text."""
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [b"one two three"]}
    return InferenceRequest.model_validate({"inputs": [tensor]})


def plain(response: Any) -> Any:
    """A response without its id."""
    found = json.loads(response.model_dump_json())
    return {key: value for key, value in found.items() if key != "id"}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
