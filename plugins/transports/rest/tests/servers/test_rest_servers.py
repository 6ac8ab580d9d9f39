"""Both HTTP servers: connections, protocols, clients that disconnect."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import h2.connection
import httpx
import pytest

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'
ECHO, BLOCKING = "/v2/models/echo/infer", "/v2/models/blocking/infer"


# --- connections and protocols ------------------------------------------------------------------------------


async def test_connections_are_kept(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        for _ in range(30):
            answer = await wire.post(ECHO, BODY)
            assert answer.status == 200
            assert "connection" not in answer.headers
            assert "server" not in answer.headers
            assert answer.headers["date"].endswith("GMT")
        await wire.close()


async def test_more_than_a_thousand_requests_on_one_connection(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        for _ in range(1100):
            await wire.send(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            assert "connection" not in (await wire.answer()).headers
        await wire.close()


async def test_idle_connections_end_after_keep_alive(serve: Any) -> None:
    async with serve(http_keep_alive=0.2) as served:
        wire = await served.wire()
        assert (await wire.post(ECHO, BODY)).status == 200
        assert await wire.ended() == b""
        await wire.close()


async def test_connections_that_never_ask_end_after_keep_alive(serve: Any) -> None:
    async with serve(http_keep_alive=0.2) as served:
        wire = await served.wire()
        assert await wire.ended() == b""
        await wire.close()


async def test_a_busy_connection_is_not_idle(serve: Any) -> None:
    async with serve(http_keep_alive=1.5) as served:
        model = served.blocking_model()
        wire = await served.wire()
        assert (await wire.post(ECHO, BODY)).status == 200
        asking = asyncio.create_task(wire.post(BLOCKING, BODY))
        await asyncio.wait_for(model.started.wait(), 20)
        await asyncio.sleep(2.0)
        model.go_on.set()
        assert (await asking).status == 200
        await wire.close()


async def test_headers_without_an_end(serve: Any, http_server: str) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(b"GET /v2 HTTP/1.1\r\nhost: x\r\nx-long: ", b"x" * 200_000)
        answer = await wire.answer()
        assert answer.status == 431
        if http_server != "hypercorn":
            assert answer.body == b'{"error":"The headers of this request have more than 65536 bytes."}'
        await wire.close()
        fits = await served.client.get("/v2/health/live", headers={"x-long": "x" * 40_000})
        assert fits.status_code == 200


async def test_pipelined_requests_are_answered_in_order(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(
            b"".join(b"GET /v2/models/%d HTTP/1.1\r\nhost: x\r\n\r\n" % index for index in range(5))
        )
        for index in range(5):
            assert json.loads((await wire.answer()).body) == {"error": f"Model {index} not found"}
        await wire.close()


async def test_invalid_http_is_refused_and_other_connections_go_on(serve: Any, http_server: str) -> None:
    async with serve() as served:
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"hello\r\n\r\n",
            b"GET /v2 HTTP/1.1\r\nbad header\r\n\r\n",
        ):
            wire = await served.wire()
            await wire.send(garbage, b"\r\n\r\n")
            answer = await wire.ended()
            assert b" 400 " in answer.splitlines()[0] + b" "
            if http_server != "hypercorn":
                assert answer.endswith(b'{"error":"This is not a valid HTTP/1.1 request."}')
            await wire.close()
        assert (await served.client.get("/v2/health/live")).status_code == 200


async def test_http2_by_prior_knowledge(serve_http2: Any) -> None:
    async with (
        serve_http2() as served,
        httpx.AsyncClient(base_url=served.url, http1=False, http2=True, timeout=20) as client,
    ):
        answers = await asyncio.gather(*(client.post(ECHO, content=BODY) for _ in range(50)))
        assert {(answer.status_code, answer.http_version) for answer in answers} == {(200, "HTTP/2")}
        assert (await client.get("/nope")).json() == {"error": "There is nothing at /nope"}
        assert (await client.get("/v2")).headers["content-type"] == "application/json"
        large = json.dumps(
            {"inputs": [{"name": "x", "shape": [50_000], "datatype": "INT64", "data": [7] * 50_000}]}
        )
        assert len((await client.post(ECHO, content=large.encode())).json()["outputs"][0]["data"]) == 50_000


async def test_http2_by_upgrade(serve_http2: Any) -> None:
    async with serve_http2() as served:
        wire = await served.wire()
        await wire.send(
            b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\n"
            b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        async with asyncio.timeout(20):
            assert b" 101 " in (await wire.reader.readuntil(b"\r\n\r\n")).splitlines()[0]
            frame = await wire.reader.readexactly(9)
        assert frame[3] == 4, "the first frame of HTTP/2 is SETTINGS"
        await wire.close()


async def test_http2_refuses_what_is_too_large(serve_http2: Any) -> None:
    async with (
        serve_http2(http_max_body_size=1000) as served,
        httpx.AsyncClient(base_url=served.url, http1=False, http2=True, timeout=20) as client,
    ):
        assert (await client.post(ECHO, content=bytes(5000))).status_code == 413
        assert (await client.post(ECHO, content=BODY)).status_code == 200


# --- clients that disconnect --------------------------------------------------------------------------------


async def test_a_client_that_disconnects_cancels_its_call(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as served:
        model = served.blocking_model()
        wire = await served.wire()
        await wire.send(
            f"POST {BLOCKING} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n".encode(), BODY
        )
        await asyncio.wait_for(model.started.wait(), 20)
        await wire.close()
        await asyncio.wait_for(model.cancelled.wait(), 20)
        assert (await served.client.post(ECHO, content=BODY)).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_stream_that_is_reset_cancels_its_call(serve_http2: Any) -> None:
    async with serve_http2() as served:
        model = served.blocking_model()
        wire = await served.wire()
        client = h2.connection.H2Connection()
        client.initiate_connection()
        head = {":method": "POST", ":path": BLOCKING, ":scheme": "http", ":authority": "x"}
        client.send_headers(1, list(head.items()))
        client.send_data(1, BODY, end_stream=True)
        await wire.send(client.data_to_send())
        await asyncio.wait_for(model.started.wait(), 20)
        client.reset_stream(1)
        await wire.send(client.data_to_send())
        await asyncio.wait_for(model.cancelled.wait(), 20)
        await wire.close()


async def test_a_client_that_disconnects_while_it_sends(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(f"POST {ECHO} HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n".encode(), BODY)
        await wire.close()
        assert (await served.client.post(ECHO, content=BODY)).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
