"""More than a server takes: refused at once, whoever is asked over whatever, and forgotten at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from mlsrv.settings import ModelSettings
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest
from mlsrv_protocol import json
from mlsrv_protocol.grpc import INFERENCE, decode_response, encode_request
from served import Served, served

pytestmark = pytest.mark.timeout(90)

SOURCE = Path(__file__).parent / "model" / "model-settings.json"
LIMITS = {"max_total_in_flight": 5, "max_total_in_flight_bytes": 4000}
MODELS = {"few": {"max_in_flight": 2}, "light": {"max_in_flight_bytes": 1000}, "free": {}}
CASES = {
    "model_requests": ([("few", 1), ("few", 1)], ("few", 1)),
    "model_bytes": ([("light", 60), ("light", 60)], ("light", 60)),
    "server_requests": ([("few", 1), ("light", 1), ("light", 1), ("free", 1), ("free", 1)], ("free", 1)),
    "server_bytes": ([("free", 200), ("free", 200)], ("few", 200)),
}
"""For each limit: the models and lengths of requests that fill it, and of one that is then too much."""

SENTENCES = {
    "model_requests": "Model few is overloaded: 2 requests are",
    "model_bytes": "Model light is overloaded: 960 bytes of requests are",
    "server_requests": "The server is overloaded: 5 requests are",
    "server_bytes": "The server is overloaded: 3200 bytes of requests are",
}


def asking(model: str, length: int, *, held: bool) -> InferenceRequest:
    return tensor_request(model, np.full((1, length), 60.0 if held else 0.0))


class Rest:
    """A client that speaks HTTP."""

    def __init__(self, server: Served) -> None:
        self._http = httpx.AsyncClient(base_url=server.rest, timeout=30)

    async def ask(self, request: InferenceRequest) -> httpx.Response:
        return await self._http.post(
            f"/v2/models/{request.model_name}/infer", content=json.encode_request(request)
        )

    async def answered(self, request: InferenceRequest) -> bool:
        answer = await self.ask(request)
        return answer.status_code == 200 and len(answer.json()["outputs"]) == 1

    async def refused(self, request: InferenceRequest) -> str:
        """The sentence of a refusal."""
        answer = await self.ask(request)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        return str(answer.json()["error"])

    async def ready(self) -> bool:
        return (await self._http.get("/v2/health/ready")).status_code == 200

    async def close(self) -> None:
        await self._http.aclose()


class Grpc:
    """A client that speaks gRPC."""

    def __init__(self, server: Served) -> None:
        self._channel = grpc.aio.insecure_channel(server.grpc)

    async def ask(self, request: InferenceRequest) -> bytes:
        call = self._channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        return bytes(await call(encode_request(request), timeout=30))

    async def answered(self, request: InferenceRequest) -> bool:
        return len(decode_response(await self.ask(request)).outputs) == 1

    async def refused(self, request: InferenceRequest) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.ask(request)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(caught.value.trailing_metadata()["grpc-retry-pushback-ms"]) >= 1000
        return str(caught.value.details())

    async def ready(self) -> bool:
        call = self._channel.unary_unary(f"/{INFERENCE}/ServerReady")
        return bool(await call(b"", timeout=30) == b"\x08\x01")

    async def close(self) -> None:
        await self._channel.close()


@asynccontextmanager
async def limited(workers: int, *, batching: bool) -> AsyncIterator[Served]:
    """The models, served with limits."""
    fields = {"max_batch_size": 4, "max_batch_time": 0.05} if batching else {}
    models = [
        ModelSettings(name, "models.Held", source=SOURCE, **limits, **fields)
        for name, limits in MODELS.items()
    ]
    async with served(models, parallel_workers=workers, **LIMITS) as found:
        yield found


@asynccontextmanager
async def held(
    server: Served, client: Rest | Grpc, requests: Sequence[tuple[str, int]]
) -> AsyncIterator[None]:
    """While requests are in flight; their clients then go away."""
    running = [asyncio.create_task(client.ask(asking(*request, held=True))) for request in requests]
    while server.kernel.admission.requests < len(running):
        await asyncio.sleep(0.01)
    yield
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    while server.kernel.admission.requests or server.kernel.admission.bytes:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("batching", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
async def test_what_is_too_much_is_refused_at_once(workers: int, batching: bool) -> None:
    async with limited(workers, batching=batching) as server:
        for client in (Rest(server), Grpc(server)):
            for case, (filling, too_much) in CASES.items():
                async with held(server, client, filling):
                    began = time.monotonic()
                    assert (await client.refused(asking(*too_much, held=False))).startswith(SENTENCES[case])
                    assert time.monotonic() - began < 5
                    assert await client.ready()
                assert await asyncio.wait_for(client.answered(asking(*too_much, held=False)), 5)
            await client.close()


async def test_all_transports_share_the_limits() -> None:
    async with limited(0, batching=False) as server:
        rest, rpc = Rest(server), Grpc(server)
        await fill_over_both(server, rest, rpc)
        for client in (rest, rpc):
            assert await client.answered(asking("free", 1, held=False))
            await client.close()


async def fill_over_both(server: Served, rest: Rest, rpc: Grpc) -> None:
    async with held(server, rest, [("free", 1)] * 3):
        running = [asyncio.create_task(rpc.ask(asking("few", 1, held=True))) for _ in range(2)]
        while server.kernel.admission.requests < 5:
            await asyncio.sleep(0.01)
        for client in (rest, rpc):
            assert (await client.refused(asking("free", 1, held=False))).startswith("The server is overl")
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_a_request_that_no_empty_queue_takes_is_too_large() -> None:
    async with limited(0, batching=False) as server:
        client = Rest(server)
        answer = await client.ask(asking("light", 126, held=False))
        assert answer.status_code == 413
        assert answer.json()["error"] == (
            "Model light takes requests of 1000 bytes of data at most; this one has 1008."
        )
        assert await client.answered(asking("light", 125, held=False))
        await client.close()
