"""A stop with ``shutdown_delay``: clients that keep their connections until they are told otherwise lose no
request if a load balancer heeds readiness."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
from attrs import define, field

from mlsrv.testing import tensor_request
from mlsrv_protocol.grpc import INFERENCE, decode_response, encode_request, message_class

pytestmark = pytest.mark.timeout(60)

DELAY = 1.5
SECONDS = 0.005
"""For which the model works on a request."""
CLIENTS = 8
NOT_SERVING = 2
HEALTH = "/grpc.health.v1.Health/Watch"
SINGLE = [("grpc.use_local_subchannel_pool", 1)]


def with_delay(*servers: str) -> Any:
    """Parameters of the fixture `server`, by the HTTP server in it."""
    values = {"implementation": "models.Held", "parallel_workers": 0, "shutdown_delay": DELAY}
    return pytest.mark.parametrize(
        "server", [values | {"http_server": name} for name in servers], indirect=True, ids=servers
    )


@define
class Load:
    """Clients that ask one request after the other until a load balancer sends them elsewhere.

    Attributes:
        before: results of requests that ended before the server was seen to be not ready.
        after: results of those that ended later.
        moved: set when the balancer acts on it, some requests later.
    """

    server: Any
    before: Counter[str] = field(factory=Counter)
    after: Counter[str] = field(factory=Counter)
    moved: asyncio.Event = field(factory=asyncio.Event)
    is_unready: bool = False

    def note(self, result: str) -> None:
        (self.after if self.is_unready else self.before)[result] += 1

    async def run(self, client: Callable[[], Awaitable[None]], unready: Awaitable[None]) -> None:
        """Stop the server under load.

        Args:
            client: asks until `moved`.
            unready: returns when the server says that it is not ready.
        """
        asking = asyncio.gather(*(client() for _ in range(CLIENTS)))
        watching = asyncio.ensure_future(unready)
        while self.before.total() < 10 * CLIENTS:
            await asyncio.sleep(0.01)
        assert not watching.done()
        self.server.process.send_signal(signal.SIGTERM)
        await watching
        self.is_unready = True
        while self.after.total() < 4 * CLIENTS:
            await asyncio.sleep(0.01)
        self.moved.set()
        await asking
        assert await asyncio.to_thread(self.server.process.wait, 15) == 0
        assert "Traceback" not in self.server.log.read_text()


@with_delay("hypercorn", "uvicorn")
async def test_rest_clients_that_keep_connections_lose_no_request(server: Any) -> None:
    load = Load(server)

    async def client() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            while not load.moved.is_set():
                try:
                    answer = await http.post("/v2/models/model/infer", json=server.body(SECONDS))
                except httpx.TransportError as error:
                    load.note(repr(error))
                else:
                    load.note(f"{answer.status_code} {answer.headers.get('connection', 'kept')}")

    async def unready() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            while (answer := await http.get("/v2/health/ready")).status_code == 200:
                await asyncio.sleep(0.01)
            assert answer.status_code == 503
            assert "stopping" in answer.json()["error"]
            assert (await http.get("/v2/health/live")).status_code == 200

    await load.run(client, unready())
    assert set(load.before) <= {"200 kept", "200 close"}
    # The head of an answer may have been on its way before.
    assert load.after.pop("200 kept", 0) <= CLIENTS
    assert set(load.after) == {"200 close"}


@with_delay("hypercorn")
async def test_grpc_clients_that_keep_channels_lose_no_request(server: Any) -> None:
    load = Load(server)
    address = f"127.0.0.1:{server.grpc_port}"
    body = encode_request(tensor_request("model", [SECONDS]))

    async def client() -> None:
        async with grpc.aio.insecure_channel(address, SINGLE) as channel:
            call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
            while not load.moved.is_set():
                try:
                    decode_response(await call(body, timeout=30))
                except grpc.aio.AioRpcError as error:
                    load.note(f"{error.code().name} {error.details()}")
                else:
                    load.note("OK")

    async def unready() -> None:
        request = message_class("grpc.health.v1.HealthCheckRequest")()
        answer = message_class("grpc.health.v1.HealthCheckResponse")
        async with grpc.aio.insecure_channel(address, SINGLE) as channel:
            watch = channel.unary_stream(HEALTH, response_deserializer=answer.FromString)
            async for health in watch(request.SerializeToString()):
                if health.status == NOT_SERVING:
                    return
        raise AssertionError("the watch ended without a word")

    await load.run(client, unready())
    assert set(load.before) == set(load.after) == {"OK"}
