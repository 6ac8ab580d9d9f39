"""``mlsrv top`` and the metrics of a server with workers and batches, as the plugins record them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx

from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel
from mock_broker import Mock
from served import served

BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
SETTINGS = {
    "host": "127.0.0.1",
    "http_port": 0,
    "metrics_port": 0,
    "parallel_workers": 2,
    "shutdown_timeout": 5.0,
}


async def test_everything_that_is_shown_is_measured() -> None:
    model = ModelSettings(
        name="echo",
        implementation="mlsrv.testing.EchoModel",
        parameters={"version": "v1"},
        max_batch_size=4,
        max_batch_time=0.01,
    )
    stop = asyncio.Event()
    async with Kernel(SETTINGS, models=[model], block=["grpc", "kafka"]) as kernel:
        await kernel.loaded()
        serving = asyncio.create_task(kernel.serve(stop.wait))
        async with asyncio.timeout(20):
            while not all(name in kernel.transports for name in ("rest", "prometheus")):
                await asyncio.sleep(0.01)
            while not all(transport.endpoints for transport in kernel.transports.values()):
                await asyncio.sleep(0.01)
        url, metrics = (kernel.transports[name].endpoints[0] for name in ("rest", "prometheus"))
        reading = await _read_under_load(url, metrics)
        stop.set()
        await serving
    (echo,) = reading["models"]
    assert (echo["name"], echo["version"], echo["state"]) == ("echo", "v1", "READY")
    assert echo["rate"] > 0
    assert 0 < echo["p50"] <= echo["p95"] <= echo["p99"]
    assert echo["in_flight"] >= 0
    assert echo["queue"] >= 0
    assert 1 <= echo["batch"] <= 4
    assert reading["pools"] == [{"name": "default", "alive": 2, "missing": 0, "queue": 0}]
    if Path("/proc").is_dir():  # elsewhere the client library knows no process metrics
        assert reading["memory"] > 2**20
        assert reading["cpu"] > 0
    assert reading["missing"] == ""


async def test_topics_of_kafka_are_shown() -> None:
    broker = Mock()
    await asyncio.to_thread(broker.create, "out")
    models = [ModelSettings(name="echo", implementation=EchoModel)]
    settings = broker.settings(parallel_workers=0, http_port=0, metrics_port=0, kafka_topic_errors=None)
    async with served(models, **settings) as server:
        broker.send(*[json.dumps(BODY).encode()] * 20, mlsrv_model="echo")
        broker.send(b"junk", mlsrv_model="echo")
        await asyncio.to_thread(broker.receive, "out", 21)
        metrics = server.kernel.transports["prometheus"].endpoints[0]
        reading = await _read_under_load(server.rest, metrics)
    assert reading["connected"] is True
    [topic] = reading["topics"]
    assert (topic["name"], topic["partitions"], topic["in_work"]) == ("in", 4, 0)


async def _read_under_load(url: str, metrics: str) -> Any:
    """What ``mlsrv top`` says while the model is asked."""
    command = [
        sys.executable,
        "-m",
        "mlsrv_cli",
        "top",
        "--json",
        "-i",
        "1",
        "-u",
        url,
        "--metrics-url",
        metrics,
    ]
    top = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    looking = asyncio.create_task(top.communicate())
    async with httpx.AsyncClient(timeout=20) as client:
        while not looking.done():
            response = await client.post(f"{url}/v2/models/echo/infer", json=BODY)
            assert response.status_code == 200
    out, _ = await looking
    assert top.returncode == 0
    return json.loads(out)
