"""Binary tensors, over real sockets."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest

from mlsrv import ModelSettings
from mlsrv.testing import EchoModel
from mlsrv.types import InferenceRequest, Parameters, RequestInput
from mlsrv_protocol import binary

HEADER = "Inference-Header-Content-Length"
RAW = ModelSettings(
    name="raw", implementation=EchoModel, inputs=[{"name": "x", "datatype": "INT16", "shape": [-1, 2]}]
)


def body_of(request: InferenceRequest) -> tuple[bytes, dict[str, str]]:
    length, pieces = binary.encode_request(request)
    return b"".join(pieces), {HEADER: str(length)}


def a_request(**more: Any) -> InferenceRequest:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    inputs = [RequestInput("x", [2, 3], "FP32", array), RequestInput("t", [2], "BYTES", [b"a", b"\xff\x00"])]
    return InferenceRequest(inputs, **more)


async def test_tensors_go_in_and_out_binary(serve: Any) -> None:
    body, headers = body_of(a_request(id="7"))
    async with serve() as served:
        answer = await served.client.post("/v2/models/echo/infer", content=body, headers=headers)
    assert answer.headers["content-type"] == "application/octet-stream"
    response = binary.decode_response(answer.content, int(answer.headers[HEADER]))
    assert response.id == "7"
    assert response.outputs[0].data.tolist() == [0, 1, 2, 3, 4, 5]
    assert response.outputs[1].data == [b"a", b"\xff\x00"]


async def test_each_output_comes_as_it_was_asked_for(serve: Any) -> None:
    asked = json.loads(a_request().json())
    asked["outputs"] = [{"name": "t", "parameters": {"binary_data": True}}, {"name": "x"}]
    async with serve() as served:
        answer = await served.client.post("/v2/models/echo/infer", json=asked)
        text = json.loads(answer.content[: int(answer.headers[HEADER])])
        outputs = {output["name"]: output for output in text["outputs"]}
        assert "data" in outputs["x"]
        assert outputs["t"]["parameters"]["binary_data_size"] == len(answer.content) - int(
            answer.headers[HEADER]
        )
        asked["parameters"] = {"binary_data_output": True}
        mixed = await served.client.post("/v2/models/echo/infer", json=asked)
        assert mixed.headers[HEADER] == answer.headers[HEADER]
        del asked["outputs"]
        every = await served.client.post("/v2/models/echo/infer", json=asked)
        assert b'"data"' not in every.content[: int(every.headers[HEADER])]


async def test_the_wishes_do_not_reach_the_model(serve: Any) -> None:
    body, headers = body_of(InferenceRequest([], parameters=Parameters(kept=1)))
    async with serve() as served:
        answer = await served.client.post("/v2/models/asked/infer", content=body, headers=headers)
    assert "binary_data_output" not in answer.text


async def test_a_json_body_with_the_header_of_its_length_is_json(serve: Any) -> None:
    body = a_request().json().encode()
    async with serve() as served:
        answer = await served.client.post(
            "/v2/models/echo/infer", content=body, headers={HEADER: str(len(body))}
        )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"


async def test_a_raw_body_is_the_data_of_the_only_input(serve: Any) -> None:
    data = np.array([[1, 2], [3, -4]], dtype="<i2").tobytes()
    async with serve(models=[RAW]) as served:
        answer = await served.client.post("/v2/models/raw/infer", content=data, headers={HEADER: "0"})
        response = binary.decode_response(answer.content, int(answer.headers[HEADER]))
        assert response.outputs[0].shape == [2, 2]
        assert response.outputs[0].data.tolist() == [1, 2, 3, -4]
        wrong = await served.client.post("/v2/models/raw/infer", content=data[:3], headers={HEADER: "0"})
        assert wrong.status_code == 400


async def test_the_header_counts_bytes_before_compression(serve: Any) -> None:
    body, headers = body_of(a_request())
    packed = gzip.compress(body)
    async with serve() as served:
        answer = await served.client.post(
            "/v2/models/echo/infer", content=packed, headers={**headers, "content-encoding": "gzip"}
        )
    assert answer.status_code == 200


@pytest.mark.parametrize("length", ["-1", "abc", "99999999999", "1e3", "3"])
async def test_a_wrong_length_is_refused_and_the_connection_lives(serve: Any, length: str) -> None:
    body, headers = body_of(a_request())
    async with serve() as served:
        wire = await served.wire()
        answer = await wire.post("/v2/models/echo/infer", body, f"{HEADER}: {length}")
        assert answer.status == 400
        assert "error" in json.loads(answer.body)
        good = await wire.post("/v2/models/echo/infer", body, f"{HEADER}: {headers[HEADER]}")
        assert good.status == 200
        await wire.close()


async def test_surplus_and_missing_bytes_are_refused(serve: Any) -> None:
    body, headers = body_of(a_request())
    async with serve() as served:
        for wrong in (body + b"x", body[:-1]):
            answer = await served.client.post("/v2/models/echo/infer", content=wrong, headers=headers)
            assert answer.status_code == 400


async def test_twenty_megabytes_each_way(serve: Any) -> None:
    array = np.arange(5 * 2**20, dtype=np.float32)
    body, headers = body_of(InferenceRequest([RequestInput("x", [array.size], "FP32", array)]))
    async with serve() as served:
        answer = await served.client.post("/v2/models/echo/infer", content=body, headers=headers)
    response = binary.decode_response(answer.content, int(answer.headers[HEADER]))
    assert np.array_equal(response.outputs[0].data, array)
