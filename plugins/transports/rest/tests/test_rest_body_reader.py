"""Body reader: bodies are read and decompressed within limits."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
from typing import Any

import pytest

import mlsrv_rest.body_reader as body_module
from mlsrv import Kernel
from mlsrv.errors import TooLarge
from mlsrv_rest.asgi import Message, Receive
from mlsrv_rest.body_budget import BodyBudget
from mlsrv_rest.body_reader import BodyReader, UnreadBody
from mlsrv_rest.calls import ActiveCalls
from mlsrv_rest.errors import ClientDisconnected
from mlsrv_rest.settings import RestSettings

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'
INFER = "/v2/models/echo/infer"


def receiving(*messages: Message) -> Receive:
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


def part(body: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def read(receive: Receive, headers: dict[str, str], **limits: Any) -> bytes | bytearray:
    """A body of up to 4 bytes, or what the limits say."""
    settings = RestSettings(**{"http_max_body_size": 4} | limits)
    reader = BodyReader(BodyBudget(settings.total_limit), settings, Kernel(discover=False))
    return await reader.read(ActiveCalls().enter(receive), headers)


@pytest.mark.parametrize(
    "parts",
    [
        [part(b"abcd", False)],
        [part(b"abcd"), part(b"", False)],
        [part(b"ab"), part(b"cd", False)],
        [part(b""), part(b"a"), part(b""), part(b"bc"), part(b"d"), part(b"", False)],
        [{"type": "http.request", "body": b"abcd"}],
    ],
)
async def test_a_body_is_what_its_parts_make(parts: list[Message]) -> None:
    assert await read(receiving(*parts), {}) == b"abcd"


async def test_no_body() -> None:
    assert await read(receiving({"type": "http.request"}), {}) == b""


@pytest.mark.parametrize(
    ("parts", "headers"),
    [
        ([part(b"abcde", False)], {}),
        ([part(b"abcde"), part(b"", False)], {}),
        ([part(b"abc"), part(b"de"), part(b"fg"), part(b"", False)], {}),
        ([part(b"abc"), part(b"de", False)], {"content-length": "5"}),
    ],
)
async def test_too_large_bodies_are_read_to_their_end(parts: list[Message], headers: dict[str, str]) -> None:
    receive = receiving(*parts)
    with pytest.raises(TooLarge, match="limit of 4 bytes"):
        await read(receive, headers)


async def test_a_body_too_large_to_discard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "DISCARD_BYTES", 10)
    with pytest.raises(UnreadBody) as caught:
        await read(receiving(*[part(b"abcdef")] * 9), {})
    assert isinstance(caught.value.__cause__, TooLarge)


async def test_a_body_too_slow_to_discard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "DISCARD_SECONDS", 0.01)
    with pytest.raises(UnreadBody):
        await read(receiving(part(b"abcdef")), {})


@pytest.mark.parametrize("before", [[], [part(b"ab")], [part(b"ab"), part(b"cd")]])
async def test_a_client_that_disconnects_before_the_end(before: list[Message]) -> None:
    with pytest.raises(ClientDisconnected):
        await read(receiving(*before, {"type": "http.disconnect"}), {}, http_max_body_size=100)


async def test_large_bodies_are_decompressed_in_a_thread() -> None:
    noise = random.Random(1).randbytes(100_000)
    headers = {"content-encoding": " GZip "}
    receive = receiving(part(gzip.compress(noise), False))
    assert await read(receive, headers, http_max_body_size=10**6) == noise


# --- over real sockets --------------------------------------------------------------------------------------


async def test_chunked_bodies(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        for size in (1, 7, 1000):
            chunks = [BODY[start : start + size] for start in range(0, len(BODY), size)]
            encoded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
            head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
            await wire.send(head, encoded, b"0\r\n\r\n")
            answer = await wire.answer()
            assert answer.status == 200, answer
        await wire.close()


async def test_a_declared_body_over_the_limit_is_413_and_the_connection_goes_on(serve: Any) -> None:
    async with serve(http_max_body_size=1000) as served:
        wire = await served.wire()
        for path in (INFER, "/v2/nowhere", "/v2/health/live"):
            answer = await wire.post(path, bytes(5000))
            assert answer.status == 413
            assert answer.body == b'{"error":"The request body is larger than the limit of 1000 bytes."}'
            assert answer.headers["content-type"] == "application/json"
            assert (await wire.post(INFER, BODY)).status == 200
        await wire.close()


async def test_a_chunked_body_over_the_limit_is_413(serve: Any) -> None:
    async with serve(http_max_body_size=1000) as served:
        wire = await served.wire()
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        await wire.send(head, b"3e8\r\n" + bytes(1000) + b"\r\n", b"1\r\nx\r\n" * 50, b"0\r\n\r\n")
        assert (await wire.answer()).status == 413
        assert (await wire.post(INFER, BODY)).status == 200
        await wire.close()


async def test_a_client_that_never_stops_gets_its_answer_and_is_closed(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "DISCARD_BYTES", 100_000)
    monkeypatch.setattr(body_module, "LINGER_SECONDS", 0.2)
    async with serve(http_max_body_size=1000) as served:
        wire = await served.wire()

        async def flood() -> None:
            try:
                await wire.send(
                    f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\n".encode()
                )
                while True:
                    await wire.send(os.urandom(65536))
            except ConnectionError:
                pass  # this is how it ends

        flooding = asyncio.create_task(flood())
        answer = await wire.answer()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        async with asyncio.timeout(20):
            await flooding
        assert (await served.client.post(INFER, content=BODY)).status_code == 200
        await wire.close()


async def test_a_gzip_bomb_is_413(serve: Any) -> None:
    async with serve(http_max_decompressed_size=10_000) as served:
        wire = await served.wire()
        bomb = gzip.compress(bytes(20 * 2**20))
        answer = await wire.post(INFER, bomb, "content-encoding: gzip")
        assert answer.status == 413
        assert b"unpacks to more than" in answer.body
        assert (await wire.post(INFER, gzip.compress(BODY), "content-encoding: gzip")).status == 200
        await wire.close()


async def test_unknown_encodings_are_415_and_say_which_are_known(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        answer = await wire.post(INFER, BODY, "content-encoding: br")
        assert answer.status == 415
        assert answer.headers["accept-encoding"] == "gzip, deflate"
        assert b"error" in answer.body
        assert (await wire.post(INFER, BODY)).status == 200
        await wire.close()


async def test_a_client_that_waits_to_be_asked_for_its_body(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        await wire.send(
            f"POST {INFER} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n".encode(),
            f"content-length: {len(BODY)}\r\n\r\n".encode(),
        )
        async with asyncio.timeout(10):
            assert b" 100 " in await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(BODY)
        assert (await wire.answer()).status == 200
        await wire.close()
