"""SIGTERM under load: every client, of whatever kind, gets its answer or is told to try again elsewhere."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest

from mlsrv.testing import tensor_request
from mlsrv_protocol.grpc import INFERENCE, decode_stream_response, encode_request

pytestmark = pytest.mark.timeout(90)

SECONDS = 0.01
"""For which the model works on a request."""
MANY = 8
"""Clients of each kind."""
SINGLE = [("grpc.use_local_subchannel_pool", 1)]
BODY = encode_request(tensor_request("model", [SECONDS]))

ANSWERS = [
    ("HTTP/1.1", "200"),
    ("HTTP/2", "200"),
    ("gRPC", "OK"),
    ("gRPC, stubborn", "OK"),
    ("gRPC, threads", "OK"),
    ("stream", "response"),
]

Counts = Counter[tuple[str, str]]
"""By the kind of client, and what became of one of its requests."""


async def over_http(server: Any, counts: Counts, *, http2: bool) -> None:
    """Asks one after the other, until a connection or a request is refused."""
    kind = "HTTP/2" if http2 else "HTTP/1.1"
    async with httpx.AsyncClient(timeout=30, http1=not http2, http2=http2) as client:
        while True:
            try:
                answer = await client.post(f"{server.url}/v2/models/model/infer", json=server.body(SECONDS))
            except httpx.TransportError as error:
                counts[kind, type(error).__name__] += 1
                return
            assert answer.status_code == 503 or len(answer.json()["outputs"]) == 1
            counts[kind, str(answer.status_code)] += 1
            if answer.status_code == 503:
                return


async def over_grpc(server: Any, counts: Counts, *, stubborn: bool) -> None:
    """Asks one after the other, until a call is refused; a stubborn one goes on until it cannot connect."""
    kind = "gRPC, stubborn" if stubborn else "gRPC"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}", SINGLE) as channel:
        call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        while True:
            try:
                await call(BODY, timeout=30)
            except grpc.aio.AioRpcError as error:
                counts[kind, error.code().name] += 1
                if not stubborn or "failed to connect" in (error.details() or ""):
                    return
            else:
                counts[kind, "OK"] += 1


def over_grpc_in_a_thread(server: Any, counts: Counts) -> None:
    """gRPC's other client."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", SINGLE) as channel:
        call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        while True:
            try:
                call(BODY, timeout=30)
            except grpc.RpcError as error:
                counts["gRPC, threads", error.code().name] += 1
                return
            counts["gRPC, threads", "OK"] += 1


async def over_streams(server: Any, counts: Counts) -> None:
    """Sends the next request of a stream once the first response to the one before is there."""
    turn = asyncio.Semaphore(1)

    async def requests() -> AsyncIterator[bytes]:
        while True:
            await turn.acquire()
            yield BODY

    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}", SINGLE) as channel:
        call = channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")(requests())
        try:
            async for message in call:
                assert not isinstance(decode_stream_response(message), str)
                counts["stream", "response"] += 1
                turn.release()
        except grpc.aio.AioRpcError as error:
            # What gRPC's client makes of a request that it was about to send when the server had its say.
            unsent = "SendMessageOperation" in (error.details() or "")
            counts["stream", "UNAVAILABLE" if unsent else error.code().name] += 1
        else:
            counts["stream", "OK"] += 1


async def stopped_under_load(server: Any) -> Counts:
    """Stop a server while clients of all kinds ask it, and return what became of every request."""
    counts: Counts = Counter()
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(MANY)
    clients: list[Awaitable[None]] = []
    for _ in range(MANY):
        clients += [over_http(server, counts, http2=even) for even in (False, True)]
        clients += [over_grpc(server, counts, stubborn=even) for even in (False, True)]
        clients += [over_streams(server, counts)]
        clients += [loop.run_in_executor(threads, over_grpc_in_a_thread, server, counts)]
    asking = asyncio.gather(*clients)
    while min(counts[kind] for kind in ANSWERS) < MANY:
        await asyncio.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    await asking
    threads.shutdown()
    assert await asyncio.to_thread(server.process.wait, 15) == 0
    return counts


def noted(server: Any) -> int:
    """Requests that the model has begun to answer."""
    return len((server.log.parent / "notes").read_text().split())


@pytest.mark.parametrize(
    "server",
    [{"implementation": "models.Noted", "parallel_workers": workers} for workers in (0, 2)],
    indirect=True,
    ids=["0 workers", "2 workers"],
)
async def test_every_client_gets_its_answer_or_may_try_again(server: Any) -> None:
    counts = await stopped_under_load(server)
    assert sum(counts[answer] for answer in ANSWERS) == noted(server)
    ends = counts.keys() - ANSWERS
    over_http = {"503", "ConnectError", "RemoteProtocolError", "ReadError", "WriteError"}
    assert {what for kind, what in ends if kind.startswith("HTTP")} <= over_http
    assert {what for kind, what in ends if not kind.startswith("HTTP")} == {"UNAVAILABLE"}
    assert "Traceback" not in server.log.read_text()
