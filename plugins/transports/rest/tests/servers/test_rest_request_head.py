"""Request head: both HTTP servers take and refuse the same heads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlsrv_rest.servers.request_head import MAX_HEAD_BYTES, origin_form, without_upgrade

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'
ECHO, LIVE = "/v2/models/echo/infer", "/v2/health/live"
GET = f"GET {LIVE} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"GET {LIVE} HTTP/1.1\r\n", 400),
        (f"GET {LIVE} HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400),
        (f"GET {LIVE} HTTP/1.0\r\nhost: a\r\nHost: b\r\n", 400),
        (f"GET {LIVE} HTTP/1.1\r\nhost: a b\r\n", 400),
        (f"GET {LIVE} HTTP/1.1\r\nhost: a/b\r\n", 400),
        (f"GET {LIVE} HTTP/1.1\r\nhost: user@a\r\n", 400),
        (f"GET {LIVE} HTTP/1.1\r\nhost: a:port\r\n", 400),
        (f"GET {LIVE} HTTP/1.1\r\nhost: a, b\r\n", 400),
        (f"POST {ECHO} HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n", 400),
        (f"POST {ECHO} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 6\r\n", 400),
        (f"POST {ECHO} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: identity, chunked\r\n", 501),
        (f"POST {ECHO} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n", 501),
        (f"GET {LIVE} HTTP/9.9\r\nhost: x\r\n", 505),
        (f"GET {LIVE} HTTP/1.2\r\nhost: x\r\n", 505),
        (f"GET {LIVE} HTTP/1.1\r\nhost: x\r\nx-long: {'x' * MAX_HEAD_BYTES}\r\n", 431),
        (f"GET {LIVE} HTTP/1.1\r\nhost: x\r\n" + f"x-many: {'x' * 1000}\r\n" * 120, 431),
        (f"GET {LIVE}?{'x' * 70_000} HTTP/1.1\r\nhost: x\r\n", 431),
        ("CONNECT x:443 HTTP/1.1\r\nhost: x\r\n", None),
    ],
)
async def test_heads_that_are_refused(serve: Any, head: str, status: int | None) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(head.encode("latin-1"), b"\r\n", b"0\r\n\r\n", GET)
        answer = await wire.answer()
        assert answer.status == status or (status is None and answer.status in (400, 501))
        assert answer.headers["connection"] == "close"
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body)["error"]
        assert await wire.ended() == b"", "the request after it is not answered"
        await wire.close()


@pytest.mark.parametrize(
    "head",
    [
        f"GET {LIVE} HTTP/1.1\r\nhost:\r\n",
        f"GET {LIVE} HTTP/1.1\r\nHost: [::1]:8080\r\n",
        f"GET {LIVE} HTTP/1.1\r\nhost: model_server.default.svc:80\r\n",
        f"GET http://any{LIVE} HTTP/1.1\r\nhost: x\r\n",
        f"GET HTTP://user@any:80{LIVE} HTTP/1.1\r\nhost: x\r\n",
        f"GET https://any{LIVE}?a=b HTTP/1.1\r\nhost: x\r\n",
        f"GET {LIVE} HTTP/1.1\r\nhost: x\r\nx-long: {'x' * 65_000}\r\n",
        f"\r\nGET {LIVE} HTTP/1.1\r\nhost: x\r\n",
        f"\r\n\r\n\r\nGET {LIVE} HTTP/1.1\r\nhost: x\r\n",
    ],
)
async def test_heads_that_are_taken(serve: Any, head: str) -> None:
    async with serve() as served:
        wire = await served.wire()
        for _ in range(2):
            await wire.send(head.encode("latin-1"), b"\r\n")
            assert (await wire.answer()).status == 200
        await wire.close()


async def test_http_1_0_needs_no_host_and_ends_the_connection(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(f"GET {LIVE} HTTP/1.0\r\n\r\n".encode())
        assert (await wire.answer()).status == 200
        assert await wire.ended() == b""
        await wire.close()


async def test_empty_lines_between_requests_are_skipped(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        length = f"content-length: {len(BODY)}\r\n\r\n".encode()
        post = f"POST {ECHO} HTTP/1.1\r\nhost: x\r\n".encode() + length + BODY
        await wire.send(b"\r\n", post, b"\r\n", post, b"\r\n\r\n", GET)
        assert [(await wire.answer()).status for _ in range(3)] == [200] * 3
        await wire.send(b"\r")
        await wire.send(b"\n", GET)
        assert (await wire.answer()).status == 200
        await wire.close()


@pytest.mark.parametrize("more", [GET, b"garbage\r\n\r\n", b"\x00" * 100])
async def test_a_last_request_is_answered_whatever_follows_it(serve: Any, more: bytes) -> None:
    async with serve() as served:
        wire = await served.wire()
        head = f"POST {ECHO} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(BODY)}\r\n\r\n"
        await wire.send(head.encode(), BODY, more)
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await wire.ended() == b""
        await wire.close()


@pytest.mark.parametrize(
    "offer",
    [
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n",
        "connection: keep-alive, Upgrade\r\nupgrade: TLS/1.3, h2c\r\n",
        "upgrade: h2c\r\n",
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_a_request_that_offers_an_upgrade_keeps_its_body(
    serve: Any, offer: str, chunked: bool, in_pieces: bool
) -> None:
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {len(BODY)}"
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY) if chunked else BODY
    head = f"POST {ECHO} HTTP/1.1\r\nhost: x\r\n{offer}x-mark: a\r\n{framing}\r\n\r\n".encode()
    message = head + body + GET
    async with serve() as served:
        wire = await served.wire()
        for _ in range(2):
            size = 40 if in_pieces else len(message)
            for at in range(0, len(message), size):
                await wire.send(message[at : at + size])
            answer = await wire.answer()
            assert (answer.status, json.loads(answer.body)["outputs"][0]["data"]) == (200, [1, 2.5])
            assert (await wire.answer()).body == b'{"live":true}'
        await wire.close()


async def test_websockets_are_not_offered(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(
            f"GET {LIVE} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n".encode()
        )
        assert (await wire.answer()).body == b'{"live":true}'
        await wire.close()


async def test_the_upgrade_to_http2_can_be_turned_off(serve_http2: Any) -> None:
    async with serve_http2(http_h2c_upgrade=False) as served:
        wire = await served.wire()
        await wire.send(
            f"GET {LIVE} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\n"
            "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n".encode()
        )
        assert (await wire.answer()).body == b'{"live":true}'
        await wire.close()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a?b", b"/a?b"),
        (b"http://x", b"/"),
        (b"http://x?y", b"/?y"),
        (b"http://x/a//b", b"/a//b"),
        (b"HTTPS://u:p@[::1]:1/a#f", b"/a"),
        (b"*", b"*"),
        (b"x:443", b"x:443"),
    ],
)
def test_origin_form(target: bytes, path: bytes) -> None:
    assert origin_form(target) == path


def test_headers_without_an_upgrade() -> None:
    headers = [(b"connection", b"Keep-Alive, Upgrade"), (b"upgrade", b"h2c"), (b"a", b"b")]
    assert without_upgrade(headers) == [(b"connection", b"Keep-Alive"), (b"a", b"b")]
    assert without_upgrade([(b"connection", b"upgrade"), (b"http2-settings", b"")]) == []
