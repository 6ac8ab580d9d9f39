"""MLServer 1.5's manual, section 11.2.3, with the package name replaced: content type decoding, and a codec
of one's own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL
import pytest

from mlsrv.codecs import NumpyCodec, StringCodec
from mlsrv.types import InferenceRequest, InferenceResponse
from served import served

ECHO = """
import json

from mlsrv import MLModel
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput
from mlsrv.codecs import DecodedParameterName

_to_exclude = {
    "parameters": {DecodedParameterName, "headers"},
    'inputs': {"__all__": {"parameters": {DecodedParameterName, "headers"}}}
}

class EchoRuntime(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = []
        for request_input in payload.inputs:
            decoded_input = self.decode(request_input)
            print(f"------ Encoded Input ({request_input.name}) ------")
            as_dict = request_input.dict(exclude=_to_exclude)  # type: ignore
            print(json.dumps(as_dict, indent=2))
            print(f"------ Decoded input ({request_input.name}) ------")
            print(decoded_input)

            outputs.append(
                ResponseOutput(
                    name=request_input.name,
                    datatype=request_input.datatype,
                    shape=request_input.shape,
                    data=request_input.data
                )
            )

        return InferenceResponse(model_name=self.name, outputs=outputs)
"""

PILLOW = """
import io
import json

from PIL import Image

from mlsrv import MLModel
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    ResponseOutput,
)
from mlsrv.codecs import NumpyCodec, register_input_codec, DecodedParameterName
from mlsrv.codecs.utils import InputOrOutput

_to_exclude = {
    "parameters": {DecodedParameterName},
    "inputs": {"__all__": {"parameters": {DecodedParameterName}}},
}


@register_input_codec
class PillowCodec(NumpyCodec):
    ContentType = "img"
    DefaultMode = "L"

    @classmethod
    def can_encode(cls, payload: Image) -> bool:
        return isinstance(payload, Image)

    @classmethod
    def _decode(cls, input_or_output: InputOrOutput) -> Image:
        if input_or_output.datatype != "BYTES":
            # If not bytes, assume it's an array
            image_array = super().decode_input(input_or_output)  # type: ignore
            return Image.fromarray(image_array, mode=cls.DefaultMode)

        encoded = input_or_output.data.__root__
        if isinstance(encoded, str):
            encoded = encoded.encode()

        return Image.frombytes(
            mode=cls.DefaultMode, size=input_or_output.shape, data=encoded
        )

    @classmethod
    def encode_output(cls, name: str, payload: Image) -> ResponseOutput:  # type: ignore
        byte_array = io.BytesIO()
        payload.save(byte_array, mode=cls.DefaultMode)

        return ResponseOutput(
            name=name, shape=payload.size, datatype="BYTES", data=byte_array.getvalue()
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Image:
        return cls._decode(response_output)

    @classmethod
    def encode_input(cls, name: str, payload: Image) -> RequestInput:  # type: ignore
        output = cls.encode_output(name, payload)
        return RequestInput(
            name=output.name,
            shape=output.shape,
            datatype=output.datatype,
            data=output.data,
        )

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Image:
        return cls._decode(request_input)
""" + ECHO.partition("class EchoRuntime")[2].join(["\n\nclass EchoRuntime", ""])

# Where MLServer keeps what it decoded among the parameters, the model asks for it instead: nothing that a
# client could put there counts as decoded.
REQUEST_ECHO = (
    ECHO.partition("class EchoRuntime")[0]
    + """
class EchoRuntime(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        print("------ Encoded Input (request) ------")
        as_dict = payload.dict(exclude=_to_exclude)  # type: ignore
        print(json.dumps(as_dict, indent=2))
        print("------ Decoded input (request) ------")
        decoded_request = self.decode_request(payload)
        print(decoded_request)

        outputs = []
        for request_input in payload.inputs:
            outputs.append(
                ResponseOutput(
                    name=request_input.name,
                    datatype=request_input.datatype,
                    shape=request_input.shape,
                    data=request_input.data
                )
            )

        return InferenceResponse(model_name=self.name, outputs=outputs)
"""
)
# Since version 13, Pillow makes no grey picture of 32-bit integers any more.
WHAT_PILLOW_READS = "INT32" if int(PIL.__version__.partition(".")[0]) < 13 else "UINT8"
SETTINGS = {"name": "content-type-example", "implementation": "runtime.EchoRuntime"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model-settings.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "runtime.py").write_text(ECHO)
    return tmp_path


async def send(folder: Path, payload: Any) -> httpx.Response:
    async with served([], model_repository_root=str(folder), executor="inline") as server:
        url = f"{server.rest}/v2/models/content-type-example/infer"
        return await asyncio.to_thread(httpx.post, url, json=payload, timeout=30)


def tensor(
    name: str, datatype: str, shape: list[int], data: Any, content_type: str | None = None
) -> dict[str, Any]:
    found = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return found | ({"parameters": {"content_type": content_type}} if content_type else {})


async def test_content_types_of_the_inputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    payload = {
        "inputs": [
            tensor("parameters-np", "INT32", [2, 2], [1, 2, 3, 4], "np"),
            tensor("parameters-str", "BYTES", [1], "hello world 😁", "str"),
        ]
    }
    answer = await send(folder, payload)
    assert answer.status_code == 200
    matrix, text = answer.json()["outputs"]
    assert (matrix["shape"], matrix["datatype"], matrix["data"]) == ([2, 2], "INT32", [1, 2, 3, 4])
    assert (text["shape"], text["datatype"], text["data"]) == ([1], "BYTES", ["hello world 😁"])
    printed = capsys.readouterr().out
    assert "------ Decoded input (parameters-np) ------\n[[1 2]\n [3 4]]\n" in printed
    assert "------ Decoded input (parameters-str) ------\n['hello world 😁']\n" in printed
    encoded = printed.partition("(parameters-np) ------\n")[2].partition("\n---")[0]
    assert json.loads(encoded) == payload["inputs"][0]


async def test_the_same_request_by_codecs(folder: Path) -> None:
    parameters_np = np.array([[1, 2], [3, 4]])
    parameters_str = ["hello world 😁"]
    payload = InferenceRequest(
        inputs=[
            NumpyCodec.encode_input("parameters-np", parameters_np),
            StringCodec.encode_input("parameters-str", parameters_str, use_bytes=False),
        ]
    )
    answer = await send(folder, payload.dict())
    response_payload = InferenceResponse.parse_raw(answer.text)
    assert NumpyCodec.decode_output(response_payload.outputs[0]).tolist() == [[1, 2], [3, 4]]
    assert StringCodec.decode_output(response_payload.outputs[1]) == ["hello world 😁"]


async def test_content_types_of_the_metadata(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = [
        {"name": "metadata-np", "datatype": "INT32", "shape": [2, 2], "parameters": {"content_type": "np"}},
        {"name": "metadata-str", "datatype": "BYTES", "shape": [11], "parameters": {"content_type": "str"}},
    ]
    (folder / "model-settings.json").write_text(json.dumps(SETTINGS | {"inputs": inputs}))
    payload = {
        "inputs": [
            tensor("metadata-np", "INT32", [2, 2], [1, 2, 3, 4]),
            tensor("metadata-str", "BYTES", [11], "hello world 😁"),
        ]
    }
    answer = await send(folder, payload)
    assert answer.status_code == 200, answer.text
    printed = capsys.readouterr().out
    assert "------ Decoded input (metadata-np) ------\n[[1 2]\n [3 4]]\n" in printed
    assert "------ Decoded input (metadata-str) ------\n['hello world 😁']\n" in printed


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
async def test_a_codec_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "runtime.py").write_text(PILLOW)
    payload = {
        "inputs": [
            tensor("image-int32", WHAT_PILLOW_READS, [8, 8], [1, 0] * 32, "img"),
            tensor("image-bytes", "BYTES", [8, 8], "10" * 32, "img"),
        ]
    }
    answer = await send(folder, payload)
    assert answer.status_code == 200, answer.text
    numbers, picture = answer.json()["outputs"]
    assert (numbers["shape"], numbers["data"]) == ([8, 8], [1, 0] * 32)
    assert picture["data"] == ["10" * 32]
    printed = capsys.readouterr().out
    assert printed.count("<PIL.Image.Image image mode=L size=8x8") == 2


async def test_a_whole_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "runtime.py").write_text(REQUEST_ECHO)
    payload = {
        "inputs": [
            tensor("parameters-np", "INT32", [2, 2], [1, 2, 3, 4], "np"),
            tensor("parameters-str", "BYTES", [2, 11], ["hello world 😁", "bye bye 😁"], "str"),
        ],
        "parameters": {"content_type": "pd"},
    }
    answer = await send(folder, payload)
    assert answer.status_code == 200, answer.text
    printed = capsys.readouterr().out.partition("------ Decoded input (request) ------\n")[2].splitlines()
    assert printed[0].split() == ["parameters-np", "parameters-str"]
    assert printed[1].split(maxsplit=1) == ["0", "[1, 2]  hello world 😁"]
    assert printed[2].split(maxsplit=1) == ["1", "[3, 4]      bye bye 😁"]
