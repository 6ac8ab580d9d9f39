"""Inference over REST: ids, headers, failures, compression."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from typing import Any

import pytest

from mlsrv import ModelSettings
from mlsrv.testing import EchoModel
from mlsrv.types import InferenceResponse, Parameters
from mlsrv_protocol import InvalidOutput
from mlsrv_rest.headers import response_headers
from mlsrv_rest.infer_codec import encode

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'


def texts(*values: str, **request: Any) -> bytes:
    tensor = {"name": "t", "shape": [len(values)], "datatype": "BYTES", "data": list(values)}
    return json.dumps({"inputs": [tensor], **request}).encode()


async def test_the_id_is_the_bodys_then_the_headers_then_a_new_one(serve: Any) -> None:
    async with serve() as served:
        url, client = "/v2/models/asked/infer", served.client
        given = (await client.post(url, content=texts(id="42"), headers={"x-request-id": "7"})).json()
        assert given["id"] == given["parameters"]["seen_id"] == "42"
        header = (await client.post(url, content=texts(), headers={"x-request-id": "7"})).json()
        assert header["id"] == header["parameters"]["seen_id"] == "7"
        ids = {(await client.post(url, content=texts())).json()["id"] for _ in range(3)}
        assert len(ids) == 3
        empty = (await client.post(url, content=texts(id=""))).json()
        assert empty["id"]
        long = (await client.post(url, content=texts(), headers={"x-request-id": "7" * 201})).json()
        assert "7" * 201 not in long["id"]


async def test_request_headers_reach_the_model_and_replace_what_the_client_claims(serve: Any) -> None:
    async with serve() as served:
        body = texts(parameters={"headers": {"x-user": "root"}, "other": 1})
        response = await served.client.post("/v2/models/asked/infer", content=body, headers={"X-User": "me"})
        seen = response.json()["parameters"]["seen_headers"]
        assert seen["x-user"] == "me"
        assert seen["content-length"] == str(len(body))


async def test_response_headers_leave_the_body(serve: Any) -> None:
    async with serve() as served:
        body = texts("X-Cost", "12", "Content-Length", "3", "connection", "close", "x-name", "é")
        response = await served.client.post("/v2/models/headers/infer", content=body)
        assert response.status_code == 200
        assert response.headers["x-cost"] == "12"
        assert (
            response.headers.raw[-1][1] == "é".encode("latin-1")
            or ("x-name", "é") in response.headers.multi_items()
        )
        assert response.headers["content-length"] == str(len(response.content))
        assert "connection" not in response.headers
        assert response.json()["parameters"] == {"kept": "yes"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nset-cookie: b"),
        ("x", "a\nb"),
        ("x", "a\x00b"),
        ("x y", "a"),
        ("x\r\n", "a"),
        ("", "a"),
        ("x", "€"),
    ],
)
async def test_a_header_cannot_begin_another_one(serve: Any, name: str, value: str) -> None:
    async with serve() as served:
        response = await served.client.post("/v2/models/headers/infer", content=texts(name, value))
        assert response.status_code == 500
        assert "which HTTP cannot carry" in response.json()["error"]
        assert "set-cookie" not in response.headers
        assert (await served.client.post("/v2/models/echo/infer", content=BODY)).status_code == 200


def test_response_headers_are_lower_case_and_trimmed() -> None:
    assert response_headers({"X-A": " b ", "Transfer-Encoding": "chunked"}) == [(b"x-a", b"b")]
    with pytest.raises(InvalidOutput, match="x_"):
        response_headers({"X_\n": "b"})


def test_encoding_leaves_the_response_alone() -> None:
    response = InferenceResponse(
        model_name="m", outputs=[], id="1", parameters=Parameters("np", {"x-a": "b"}, kept=True)
    )
    reply = encode(response, ())
    assert (b"x-a", b"b") in reply.headers
    assert json.loads(reply.body)["parameters"] == {"content_type": "np", "kept": True}
    assert response.parameters is not None
    assert response.parameters.headers == {"x-a": "b"}


async def test_a_failing_model_is_500_without_a_traceback(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as served:
        response = await served.client.post("/v2/models/failing/infer", content=BODY)
        assert response.status_code == 500
        assert response.json() == {"error": "Model failing failed: ValueError: this model always fails"}
        assert any(record.exc_info for record in caplog.records)


async def test_an_unexpected_error_is_500_with_the_id_in_the_log(
    serve: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as served:

        async def infer(*_: object) -> None:
            raise RuntimeError("a secret")

        monkeypatch.setattr(served.kernel, "infer", infer)
        with caplog.at_level(logging.ERROR, "mlsrv.requests"):
            response = await served.client.post("/v2/models/echo/infer", content=BODY)
        assert response.status_code == 500
        error = response.json()["error"]
        assert error.startswith("Internal server error (request ")
        request_id = error.split()[-1].rstrip(")")
        [record] = [record for record in caplog.records if record.name == "mlsrv.requests"]
        assert request_id in record.getMessage()
        assert record.exc_info is not None


async def test_overload_says_when_to_come_back(serve: Any) -> None:
    async with serve(max_in_flight=1) as served:
        url = "/v2/models/blocking/infer"
        first = asyncio.create_task(served.client.post(url, content=BODY))
        model = served.kernel.handle("blocking").instance.placement._model
        await model.started.wait()
        second = await served.client.post(url, content=BODY)
        assert second.status_code == 503
        assert second.headers["retry-after"] == "1"
        assert "overloaded" in second.json()["error"]
        model.go_on.set()
        assert (await first).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw deflate", "GZIP", "identity", ""])
async def test_compressed_requests(serve: Any, encoding: str) -> None:
    raw = zlib.compressobj(wbits=-15)
    bodies = {
        "gzip": gzip.compress(BODY),
        "x-gzip": gzip.compress(BODY),
        "GZIP": gzip.compress(BODY),
        "deflate": zlib.compress(BODY),
        "raw deflate": raw.compress(BODY) + raw.flush(),
    }
    async with serve() as served:
        headers = {"content-encoding": encoding.split()[-1] if encoding else ""}
        response = await served.client.post(
            "/v2/models/echo/infer", content=bodies.get(encoding, BODY), headers=headers
        )
        assert response.status_code == 200, response.text
        assert response.json()["outputs"][0]["data"] == [1.0, 2.5]


async def test_responses_are_compressed_only_on_demand(serve: Any) -> None:
    numbers = json.dumps(
        {"inputs": [{"name": "x", "shape": [1000], "datatype": "INT64", "data": list(range(1000))}]}
    ).encode()
    async with serve(gzip_enabled=True) as served:
        wire = await served.wire()
        plain = await wire.post("/v2/models/echo/infer", numbers)
        assert "content-encoding" not in plain.headers
        packed = await wire.post("/v2/models/echo/infer", numbers, "accept-encoding: gzip, deflate")
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == "accept-encoding"
        assert json.loads(gzip.decompress(packed.body))["outputs"] == json.loads(plain.body)["outputs"]
        for refusal in ("gzip;q=0", "gzip; q=0.0, br", "br", "notgzip", "*;q=0"):
            answer = await wire.post("/v2/models/echo/infer", numbers, f"accept-encoding: {refusal}")
            assert "content-encoding" not in answer.headers
        small = await wire.post("/v2/models/echo/infer", BODY, "accept-encoding: gzip")
        assert "content-encoding" not in small.headers
        await wire.close()


async def test_responses_are_not_compressed_by_default(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        body = texts("x" * 5000)
        answer = await wire.post("/v2/models/echo/infer", body, "accept-encoding: gzip")
        assert "content-encoding" not in answer.headers
        await wire.close()


async def test_the_content_type_of_a_request_means_nothing(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        for content_type in (
            "application/octet-stream",
            "application/x-www-form-urlencoded",
            "text/plain",
            "x",
        ):
            answer = await wire.post("/v2/models/echo/infer", BODY, f"content-type: {content_type}")
            assert answer.status == 200
        assert (await wire.post("/v2/models/echo/infer", BODY)).status == 200
        await wire.close()


async def test_large_tensors_in_and_out(serve: Any) -> None:
    count = 300_000
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [count], "datatype": "INT64", "data": list(range(count))}]}
    )
    async with serve(models=[ModelSettings(name="echo", implementation=EchoModel)]) as served:
        response = await served.client.post("/v2/models/echo/infer", content=body.encode())
        assert response.status_code == 200
        assert response.json()["outputs"][0]["data"] == list(range(count))


async def test_a_deadline_comes_by_header_or_parameter(serve: Any) -> None:
    async with serve() as served:
        slow = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}]}
        path = "/v2/models/blocking/infer"
        late = await served.client.post(path, json=slow, headers={"x-request-timeout": "0.05"})
        assert late.status_code == 504
        late = await served.client.post(path, json={**slow, "parameters": {"timeout": 50_000}})
        assert late.status_code == 504
        for wrong in ("0", "-1", "soon", "nan", "inf"):
            answer = await served.client.post(path, json=slow, headers={"x-request-timeout": wrong})
            assert answer.status_code == 400
        assert (
            await served.client.post(path, json={**slow, "parameters": {"timeout": -5}})
        ).status_code == 400
