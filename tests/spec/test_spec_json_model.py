"""MLServer 1.5's manual, section 11.2.5, with the package name replaced: a model with JSON in texts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from mlsrv import types
from mlsrv.codecs.string import StringRequestCodec
from mlsrv.types import InferenceResponse
from served import served

MODEL = """
import json

from typing import Dict, Any
from mlsrv import MLModel, types
from mlsrv.codecs import StringCodec


class JsonHelloWorldModel(MLModel):
    async def load(self) -> bool:
        # Perform additional custom initialization here.
        print("Initialize model")

        # Set readiness flag for model
        return await super().load()

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        request = self._extract_json(payload)
        response = {
            "request": request,
            "server_response": "Got your request. Hello from the server.",
        }
        response_bytes = json.dumps(response).encode("UTF-8")

        return types.InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            outputs=[
                types.ResponseOutput(
                    name="echo_response",
                    shape=[len(response_bytes)],
                    datatype="BYTES",
                    data=[response_bytes],
                    parameters=types.Parameters(content_type="str"),
                )
            ],
        )

    def _extract_json(self, payload: types.InferenceRequest) -> Dict[str, Any]:
        inputs = {}
        for inp in payload.inputs:
            inputs[inp.name] = json.loads(
                "".join(self.decode(inp, default_codec=StringCodec))
            )

        return inputs
"""
SETTINGS = {"name": "json-hello-world", "implementation": "jsonmodels.JsonHelloWorldModel"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "settings.json").write_text(json.dumps({"debug": "true"}))
    (tmp_path / "model-settings.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "jsonmodels.py").write_text(MODEL)
    return tmp_path


def expected(inputs: dict[str, str]) -> dict[str, object]:
    return {
        "request": {"echo_request": inputs},
        "server_response": "Got your request. Hello from the server.",
    }


async def test_over_rest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = {"name": "Foo Bar", "message": "Hello from Client (REST)!"}
    inputs_string = json.dumps(inputs)
    inference_request = {
        "inputs": [
            {
                "name": "echo_request",
                "shape": [len(inputs_string)],
                "datatype": "BYTES",
                "data": [inputs_string],
            }
        ]
    }
    async with served([], model_repository_root=str(folder), executor="inline") as server:
        endpoint = f"{server.rest}/v2/models/json-hello-world/infer"
        response = await asyncio.to_thread(httpx.post, endpoint, json=inference_request, timeout=30)
    assert response.status_code == 200, response.text
    assert response.json()["outputs"][0]["shape"] == [1]
    inference_response = InferenceResponse.parse_raw(response.text)
    raw_json = StringRequestCodec.decode_response(inference_response)
    assert json.loads(raw_json[0]) == expected(inputs)
    assert "Initialize model" in capsys.readouterr().out


@pytest.mark.parametrize("wire", ["json", "binary", "grpc"])
async def test_over_every_wire(folder: Path, wire: str) -> None:
    inputs = {"name": "Foo Bar", "message": "Hello from Client (gRPC)!"}
    inputs_bytes = json.dumps(inputs).encode("UTF-8")
    # Raw forms carry each element's length, so that there the shape has to count elements.
    shape = [1] if wire == "binary" else [len(inputs_bytes)]
    inference_request = types.InferenceRequest(
        inputs=[
            types.RequestInput(
                name="echo_request",
                shape=shape,
                datatype="BYTES",
                data=[inputs_bytes],
                parameters=types.Parameters(content_type="str"),
            )
        ],
        model_name="json-hello-world",
    )
    async with served([], model_repository_root=str(folder), executor="inline") as server:
        inference_response = await server.infer(wire, inference_request)
    raw_json = StringRequestCodec.decode_response(inference_response)
    assert json.loads(raw_json[0]) == expected(inputs)
