"""SIGTERM under load: every client, of whatever kind, gets its answer or is told to try again elsewhere."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import grpc
import httpx
import pytest
from attrs import define, field

from mlsrv.testing import tensor_request
from mlsrv.types import InferenceResponse
from mlsrv_protocol.grpc import INFERENCE, decode_response, decode_stream_response, encode_request

pytestmark = pytest.mark.timeout(90)

SECONDS = 0.01
"""For which the model works on a request."""
MANY = 8
"""Clients of each kind."""
SINGLE = [("grpc.use_local_subchannel_pool", 1)]


@define
class Load:
    """Clients that ask one request after the other until they are refused, and what becomes of each.

    Attributes:
        answers: ids of requests that were answered, by kind of client.
        ends: how the others ended, by kind of client.
    """

    server: Any
    answers: dict[str, set[str]] = field(factory=dict)
    ends: Counter[tuple[str, str]] = field(factory=Counter)
    _number: "count[int]" = field(factory=count)

    def new_id(self, kind: str) -> str:
        return f"{kind}-{next(self._number)}"

    def answered(self, kind: str, request_id: str | None) -> None:
        assert request_id is not None
        self.answers.setdefault(kind, set()).add(request_id)

    def ended(self, kind: str, how: str) -> None:
        self.ends[kind, how] += 1

    async def over_http(self, kind: str, *, http2: bool) -> None:
        url = f"{self.server.url}/v2/models/model/infer"
        async with httpx.AsyncClient(timeout=30, http1=not http2, http2=http2) as client:
            while True:
                body = self.server.body(SECONDS) | {"id": self.new_id(kind)}
                try:
                    answer = await client.post(url, json=body)
                except httpx.TransportError as error:
                    return self.ended(kind, type(error).__name__)
                if answer.status_code != 200:
                    return self.ended(kind, str(answer.status_code))
                self.answered(kind, answer.json()["id"])

    async def over_grpc(self, kind: str, *, stubborn: bool) -> None:
        """A stubborn client goes on until it cannot connect any more."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.server.grpc_port}", SINGLE) as channel:
            call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
            while True:
                try:
                    answer = await call(self.body(kind), timeout=30)
                except grpc.aio.AioRpcError as error:
                    self.ended(kind, error.code().name)
                    if not stubborn or "failed to connect" in (error.details() or ""):
                        return
                else:
                    self.answered(kind, decode_response(answer).id)

    def over_grpc_in_a_thread(self, kind: str) -> None:
        """With gRPC's other client."""
        with grpc.insecure_channel(f"127.0.0.1:{self.server.grpc_port}", SINGLE) as channel:
            call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
            while True:
                try:
                    answer = call(self.body(kind), timeout=30)
                except grpc.RpcError as error:
                    return self.ended(kind, error.code().name)
                self.answered(kind, decode_response(answer).id)

    async def over_a_stream(self, kind: str) -> None:
        turn = asyncio.Semaphore(1)

        async def requests() -> AsyncIterator[bytes]:
            while True:
                await turn.acquire()
                yield self.body(kind)

        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.server.grpc_port}", SINGLE) as channel:
            call = channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")(requests())
            try:
                async for message in call:
                    response = decode_stream_response(message)
                    assert isinstance(response, InferenceResponse)
                    self.answered(kind, response.id)
                    turn.release()
            except grpc.aio.AioRpcError as error:
                # What this client makes of a request that it was about to send when the server had its say.
                unsent = "Internal error from Core" in (error.details() or "")
                self.ended(kind, "UNAVAILABLE" if unsent else error.code().name)
            else:
                self.ended(kind, "OK")

    def body(self, kind: str) -> bytes:
        request = tensor_request("model", [SECONDS])
        request.id = self.new_id(kind)
        return encode_request(request)

    async def run(self) -> None:
        """Stop the server while clients of all kinds ask it."""
        loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(MANY)
        clients: list[Awaitable[None]] = []
        for _ in range(MANY):
            clients += [
                self.over_http("HTTP/1.1", http2=False),
                self.over_http("HTTP/2", http2=True),
                self.over_grpc("gRPC", stubborn=False),
                self.over_grpc("stubborn", stubborn=True),
                self.over_a_stream("stream"),
                loop.run_in_executor(threads, self.over_grpc_in_a_thread, "thread"),
            ]
        asking = asyncio.gather(*clients)
        while len(self.answers) < 6 or min(map(len, self.answers.values())) < 3 * MANY:
            await asyncio.sleep(0.01)
        self.server.process.send_signal(signal.SIGTERM)
        await asking
        threads.shutdown()
        assert await asyncio.to_thread(self.server.process.wait, 15) == 0


@pytest.mark.parametrize(
    "server",
    [{"implementation": "models.Noted", "parallel_workers": workers} for workers in (0, 2)],
    indirect=True,
    ids=["0 workers", "2 workers"],
)
async def test_every_client_gets_its_answer_or_may_try_again(server: Any) -> None:
    load = Load(server)
    await load.run()
    begun = (server.log.parent / "notes").read_text().split()
    answered = {request_id for ids in load.answers.values() for request_id in ids}
    # Every request that reached the model was answered to its client.
    assert sorted(begun) == sorted(answered)
    over_http = {"503", "ConnectError", "RemoteProtocolError", "ReadError", "WriteError"}
    assert {how for kind, how in load.ends if kind.startswith("HTTP")} <= over_http
    assert {how for kind, how in load.ends if not kind.startswith("HTTP")} == {"UNAVAILABLE"}
    assert "Traceback" not in server.log.read_text()
