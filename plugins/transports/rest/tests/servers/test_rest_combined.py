"""Combined server: HTTP/1.1 and HTTP/2 share a socket and its limits."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import httpx
import pytest

LIVE = "/v2/health/live"
UPGRADE = (
    f"GET {LIVE} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\n"
    "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
).encode()
BLOCKING = "/v2/models/blocking/infer"
BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'


@pytest.fixture
def http_server() -> str:
    return "combined"


def http2_client(served: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=served.url, http1=False, http2=True, timeout=20)


async def speak_both(served: Any) -> None:
    async with http2_client(served) as client:
        for _ in range(3):
            assert (await client.get(LIVE)).http_version == "HTTP/2"
            assert (await served.client.get(LIVE)).http_version == "HTTP/1.1"


async def test_both_protocols_on_one_port(serve: Any) -> None:
    async with serve() as served:
        await speak_both(served)


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_both_protocols_on_uvloop(serve: Any) -> None:
    import uvloop

    async def main() -> None:
        async with serve() as served:
            await speak_both(served)
            wire = await served.wire()
            await wire.send(UPGRADE)
            assert (await wire.answer()).status == 101
            await wire.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_connections_of_both_protocols_count_together(serve: Any) -> None:
    async with serve(http_max_connections=2) as served, http2_client(served) as client:
        assert (await client.get(LIVE)).status_code == 200
        wire = await served.wire()
        await wire.send(f"GET {LIVE} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert (await wire.answer()).status == 200
        refused = await served.wire()
        assert (await refused.answer()).status == 503
        assert (await client.get(LIVE)).status_code == 200
        for each in (wire, refused):
            await each.close()


async def test_a_later_request_may_upgrade(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(f"GET {LIVE} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert (await wire.answer()).body == b'{"live":true}'
        await wire.send(UPGRADE)
        assert (await wire.answer()).status == 101
        assert (await wire.reader.readexactly(9))[3] == 4, "the first frame of HTTP/2 is SETTINGS"
        await wire.close()


async def test_an_upgrade_behind_an_unanswered_request_is_ignored(serve: Any) -> None:
    async with serve() as served:
        model = served.blocking_model()
        wire = await served.wire()
        head = f"POST {BLOCKING} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n"
        await wire.send(head.encode(), BODY, UPGRADE)
        await asyncio.wait_for(model.started.wait(), 20)
        model.go_on.set()
        assert (await wire.answer()).status == 200
        assert (await wire.answer()).body == b'{"live":true}'
        await wire.close()


async def test_a_preface_in_pieces(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        for piece in (b"PR", b"I * HTTP/2.0\r\n", b"\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0"):
            await wire.send(piece)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(20):
            assert (await wire.reader.readexactly(9))[3] == 4
        await wire.close()


async def test_what_only_begins_like_a_preface_is_refused(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(b"PRI * HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await wire.answer()).status in (400, 404, 405)
        await wire.close()
        assert (await served.client.get(LIVE)).status_code == 200
