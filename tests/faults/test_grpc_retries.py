"""A stop under load without a load balancer: gRPC clients that heed no health and retry UNAVAILABLE, as their
usual policy says, lose no call while another server is there."""

import asyncio
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from mlsrv.settings import ModelSettings
from mlsrv.testing import tensor_request
from mlsrv_protocol.grpc import INFERENCE, decode_response, encode_request
from served import served

pytestmark = pytest.mark.timeout(120)

CLIENTS = 8
SOURCE = Path(__file__).parent / "model" / "model-settings.json"
POLICY = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "loadBalancingConfig": [{"round_robin": {}}],
}
OPTIONS = [("grpc.service_config", json.dumps(POLICY)), ("grpc.use_local_subchannel_pool", 1)]


@pytest.mark.parametrize(
    "server",
    [{"implementation": "models.Held", "parallel_workers": 0, "shutdown_delay": delay} for delay in (0, 1)],
    indirect=True,
    ids=["at once", "after a delay"],
)
async def test_clients_that_retry_lose_no_call(server: Any) -> None:
    other = ModelSettings("model", "models.Held", source=SOURCE)
    async with served([other], parallel_workers=0) as second:
        address = f"ipv4:127.0.0.1:{server.grpc_port},{second.grpc}"
        body = encode_request(tensor_request("model", [0.005]))
        results: Counter[str] = Counter()
        stopped = asyncio.Event()

        async def client() -> None:
            async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
                call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
                while not stopped.is_set():
                    try:
                        decode_response(await call(body, timeout=30))
                    except grpc.aio.AioRpcError as error:
                        results[f"{error.code().name} {error.details()}"] += 1
                    else:
                        results["OK"] += 1

        asking = asyncio.gather(*(client() for _ in range(CLIENTS)))
        while results.total() < 10 * CLIENTS:
            await asyncio.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, 60) == 0
        answered = results.total()
        while results.total() < answered + 4 * CLIENTS:
            await asyncio.sleep(0.01)
        stopped.set()
        await asking
    assert set(results) == {"OK"}
