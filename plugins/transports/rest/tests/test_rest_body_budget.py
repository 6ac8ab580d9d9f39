"""Body budget: all bodies together are bounded in bytes, and each in time."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h2.connection
import h2.events
import httpx
import pytest

from mlsrv import MeterOffer, MLModel, ModelSettings
from mlsrv.handlers import custom_handler
from mlsrv.testing import MemoryMeter, Offering

ONE, ALL = 2**20, 2**21
LIMITS = {"http_max_body_size": ONE, "http_max_total_body_size": ALL}
METERED = Offering(MeterOffer("memory", MemoryMeter), name="memory")
BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'
INFER = "/v2/models/echo/infer"
LARGE = 700_000


class Reading(MLModel):
    """Counts what it is sent, once it is let go."""

    async def load(self) -> bool:
        type(self).begun, type(self).go_on = asyncio.Event(), asyncio.Event()
        return True

    @custom_handler("/read")
    async def read(self, body: bytes) -> int:
        self.begun.set()
        await self.go_on.wait()
        return len(body)


def head(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: test", *headers, "", ""]).encode()


def held(served: Any) -> int:
    return int(served.app.body_budget.held_bytes)


def rejected(served: Any) -> dict[str, int]:
    """Refusals by their reason."""
    counts = served.kernel.meters["memory"].counts
    return {labels[3]: count for labels, count in counts.items() if labels[0] == "mlsrv_requests_rejected"}


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def parked(served: Any) -> AsyncIterator[None]:
    """Have three clients send most of their bodies, so that little of the budget is left."""
    wires = [await served.wire() for _ in range(3)]
    try:
        for wire in wires:
            await wire.send(head(INFER, f"content-length: {ONE}"), b" " * LARGE)
        await until(lambda: held(served) == 3 * (LARGE - 2**16))
        yield
    finally:
        for wire in wires:
            await wire.close()
    await until(lambda: held(served) == 0)


def assert_overloaded(answer: Any) -> None:
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["connection"] == "close"
    assert re.fullmatch(
        r"The server is overloaded: \d+ bytes of bodies are already waiting or running; "
        r"try again later\.",
        json.loads(answer.body)["error"],
    )


@pytest.mark.parametrize(
    "path", [INFER, "/v2/models/echo/generate", "/v2/models/echo/infer_stream", "/nowhere"]
)
async def test_a_body_that_would_be_too_much_is_refused_unread(serve: Any, path: str) -> None:
    async with serve([METERED], **LIMITS) as served, parked(served):
        wire = await served.wire()
        await wire.send(head(path, f"content-length: {ONE}"))
        assert_overloaded(await wire.answer())
        assert await wire.ended() == b""
        await wire.close()
        assert rejected(served) == {"http_bytes": 1}


async def test_a_client_that_asks_first_sends_nothing(serve: Any, http_server: str) -> None:
    async with serve(**LIMITS) as served, parked(served):
        wire = await served.wire()
        await wire.send(head(INFER, f"content-length: {ONE}", "expect: 100-continue"))
        if http_server == "hypercorn":  # says so before it hands the request on
            assert (await wire.answer()).status == 100
        assert_overloaded(await wire.answer())
        await wire.close()


async def test_a_chunked_body_is_refused_when_it_becomes_too_much(serve: Any) -> None:
    async with serve([METERED], **LIMITS) as served, parked(served):
        before = held(served)
        wire = await served.wire()
        await wire.send(head(INFER, "transfer-encoding: chunked"))
        for _ in range(10):
            await wire.send(b"10000\r\n", bytes(2**16), b"\r\n")
        assert_overloaded(await wire.answer())
        assert held(served) == before
        await wire.close()
        assert rejected(served) == {"http_bytes": 1}


async def test_small_requests_go_on_meanwhile(serve: Any) -> None:
    async with serve(**LIMITS) as served, parked(served):
        wire = await served.wire()
        for _ in range(5):
            assert (await wire.post(INFER, BODY)).status == 200
        padded = BODY + b" " * (2**16 - len(BODY))
        assert (await wire.post(INFER, padded)).status == 200
        await wire.close()


async def test_the_decompressed_size_of_a_body_counts(serve: Any) -> None:
    async with serve([METERED], **LIMITS) as served, parked(served):
        wire = await served.wire()
        for plain in (BODY + b" " * LARGE, BODY + bytes(str(list(range(100_000))), "ascii")):
            answer = await wire.post(INFER, gzip.compress(plain), "content-encoding: gzip")
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) >= 1
        # It had been read: the connection goes on.
        assert (await wire.post(INFER, gzip.compress(BODY), "content-encoding: gzip")).status == 200
        assert rejected(served) == {"http_bytes": 2}
        await wire.close()


async def test_a_body_counts_until_the_answer(serve: Any) -> None:
    models = [ModelSettings(name="reading", implementation=Reading)]
    async with serve(models=models, **LIMITS) as served:
        wire = await served.wire()
        asking = asyncio.create_task(wire.post("/v2/models/reading/read", bytes(LARGE)))
        await until(Reading.begun.is_set)
        assert held(served) == LARGE - 2**16
        Reading.go_on.set()
        assert (await asking).body == str(LARGE).encode()
        await until(lambda: held(served) == 0)
        assert (await wire.post("/v2/models/reading/read", bytes(ONE))).status == 200
        await wire.close()


async def test_too_large_bodies_and_clients_that_leave_count_no_more(serve: Any) -> None:
    async with serve(**LIMITS) as served:
        wire = await served.wire()
        chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
        await wire.send(head(INFER, "transfer-encoding: chunked"), chunk * 20, b"0\r\n\r\n")
        assert (await wire.answer()).status == 413
        assert held(served) == 0
        async with parked(served):
            pass
        assert (await wire.post(INFER, BODY + b" " * LARGE)).status == 200
        await wire.close()


# --- time ---------------------------------------------------------------------------------------------------


async def test_a_body_that_does_not_come_is_408(serve: Any) -> None:
    async with serve([METERED], http_receive_timeout=1.0) as served:
        for sent in (b"", BODY[:-1]):
            wire = await served.wire()
            await wire.send(head(INFER, f"content-length: {len(BODY)}"), sent)
            answer = await wire.answer()
            assert answer.status == 408
            assert answer.headers["connection"] == "close"
            assert json.loads(answer.body) == {
                "error": "The request body did not arrive in time: within 1 seconds, and one more for each "
                "16384 bytes."
            }
            assert await wire.ended() == b""
            await wire.close()
        assert (await served.client.post(INFER, content=BODY)).status_code == 200
        assert rejected(served) == {"http_slow": 2}


async def test_a_large_body_has_more_time(serve: Any) -> None:
    async with serve(http_receive_timeout=1.0) as served:
        wire = await served.wire()
        await wire.send(head(INFER, f"content-length: {LARGE}"), BODY + b" " * (LARGE - len(BODY) - 1))
        await asyncio.sleep(1.5)
        await wire.send(b" ")
        assert (await wire.answer()).status == 200
        await wire.close()


async def test_a_model_may_take_longer_than_a_body(serve: Any) -> None:
    models = [ModelSettings(name="reading", implementation=Reading)]
    async with serve(models=models, http_receive_timeout=1.0) as served:
        wire = await served.wire()
        asking = asyncio.create_task(wire.post("/v2/models/reading/read", b"abc"))
        await until(Reading.begun.is_set)
        await asyncio.sleep(1.3)
        Reading.go_on.set()
        assert (await asking).body == b"3"
        await wire.close()


# --- HTTP/2 -------------------------------------------------------------------------------------------------


async def test_http2_goes_on_after_a_refusal(serve_http2: Any) -> None:
    async with (
        serve_http2(**LIMITS) as served,
        parked(served),
        httpx.AsyncClient(base_url=served.url, http1=False, http2=True, timeout=20) as client,
    ):
        answer = await client.post(INFER, content=bytes(ONE))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await client.post(INFER, content=BODY)).status_code == 200


class Two:
    """A client that speaks HTTP/2, frame by frame."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self.statuses: dict[int, str] = {}

    def post(self, stream: int, length: int) -> None:
        head = {":method": "POST", ":path": INFER, ":scheme": "http", ":authority": "x"}
        self.h2.send_headers(stream, [*head.items(), ("content-length", str(length))])

    async def flush(self) -> None:
        await self._wire.send(self.h2.data_to_send())

    async def answered(self, stream: int) -> str:
        async with asyncio.timeout(20):
            while stream not in self.statuses:
                data = await self._wire.reader.read(65536)
                assert data, "the connection ended"
                for event in self.h2.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived):
                        self.statuses[event.stream_id] = dict(event.headers)[b":status"].decode()
                await self.flush()
        return self.statuses[stream]


async def test_a_slow_stream_ends_alone(serve_http2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsrv_rest.body_reader.LINGER_SECONDS", 0.1)
    async with serve_http2(http_receive_timeout=0.1) as served:
        wire = await served.wire()
        client = Two(wire)
        client.post(1, 100)
        client.h2.send_data(1, b" " * 50)
        await client.flush()
        assert await client.answered(1) == "408"
        await asyncio.sleep(0.3)  # until the server no longer reads that stream
        client.h2.send_data(1, b" " * 50, end_stream=True)
        client.post(3, len(BODY))
        client.h2.send_data(3, BODY, end_stream=True)
        await client.flush()
        assert await client.answered(3) == "200"
        await wire.close()


async def test_a_head_that_comes_drop_by_drop_ends_the_connection(serve: Any) -> None:
    async with serve(http_keep_alive=0.3) as served:
        wire = await served.wire()
        dripping = asyncio.create_task(drip(wire))
        try:
            assert b" 200 " not in await wire.ended()
        except ConnectionResetError:
            pass  # a byte that arrived after the server had closed resets the connection
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        await wire.close()


async def drip(wire: Any) -> None:
    await wire.send(b"GET /v2 HTTP/1.1\r\nhost: x\r\nx-long: ")
    while True:
        await wire.send(b"x")
        await asyncio.sleep(0.02)
