"""Metrics of HTTP requests by method, route and status."""

import asyncio
from typing import Any

import httpx
import pytest

import mlsrv_rest.plugin
from mlsrv import Kernel, MeterOffer, ModelSettings
from mlsrv.testing import EchoModel, MemoryMeter, Offering, SlowModel

METERED = Offering(MeterOffer("memory", MemoryMeter), name="memory")
BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["hi"]}]}
INFER = "/v2/models/{model}/infer"


def kernel_of(*plugins: object) -> Kernel:
    models = [
        ModelSettings(name="echo", implementation=EchoModel, parameters={"version": "v1"}),
        ModelSettings(name="slow", implementation=SlowModel, parameters={"extra": {"seconds": 60}}),
    ]
    settings = {"server_name": "here", "http_max_body_size": 1000}
    return Kernel(settings, plugins=[mlsrv_rest.plugin, *plugins], models=models, discover=False)


def client_of(kernel: Kernel) -> httpx.AsyncClient:
    app: Any = httpx.ASGITransport(mlsrv_rest.create_app(kernel))
    return httpx.AsyncClient(transport=app, base_url="http://test")


def memory(kernel: Kernel) -> MemoryMeter:
    found = kernel.meters["memory"]
    assert isinstance(found, MemoryMeter)
    return found


def requests(kernel: Kernel) -> dict[tuple[str, ...], int]:
    """Method, route and status of what was counted."""
    counts = memory(kernel).counts
    return {labels[1:4]: counts[labels] for labels in counts if labels[0] == "rest_server_requests"}


async def test_requests_are_counted_by_route_and_status() -> None:
    kernel = kernel_of(METERED)
    client = client_of(kernel)  # made before the kernel runs, as applications do
    async with kernel, client:
        await kernel.loaded()
        for path in ("/v2/models/echo/infer", "/v2/models/echo/versions/v1/infer", "/v2/models/nobody/infer"):
            await client.post(path, json=BODY)
        await client.post("/v2/models/echo/infer", content=b"{")
        await client.post("/v2/models/echo/infer", content=b"x" * 2000)
        await client.get("/v2/models/echo")
        await client.get("/v2/models/echo/infer")
        assert requests(kernel) == {
            ("POST", INFER, "200"): 1,
            ("POST", "/v2/models/{model}/versions/{version}/infer", "200"): 1,
            ("POST", INFER, "404"): 1,
            ("POST", INFER, "400"): 1,
            ("GET", "/v2/models/{model}", "200"): 1,
        }
        seconds = {
            labels: value for labels, value in memory(kernel).sums.items() if "duration_seconds" in labels[0]
        }
        assert len(seconds) == 5
        assert all(0 < value < 30 for value in seconds.values())
        assert {labels[-1] for labels in seconds} == {"here"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("GET", "/v2/health/ready"), ("ODD", "/v2"), ("GET", "/v2/models/echo/nothing")],
)
async def test_requests_that_could_create_endless_series_are_not_counted(method: str, path: str) -> None:
    kernel = kernel_of(METERED)
    async with kernel, client_of(kernel) as client:
        await kernel.loaded()
        await client.request(method, path)
        assert requests(kernel) == {}


async def test_requests_in_progress_are_read() -> None:
    kernel = kernel_of(METERED)
    async with kernel, client_of(kernel) as client:
        await kernel.loaded()
        running = asyncio.create_task(client.post("/v2/models/slow/infer", json=BODY))
        while not kernel.handle("slow").loaded().in_flight:
            await asyncio.sleep(0)
        name = "rest_server_requests_in_progress"
        assert memory(kernel).read(name)["POST", "here"] == 1
        running.cancel()
        await asyncio.wait({running})
        assert memory(kernel).read(name)["POST", "here"] == 0


async def test_a_kernel_that_is_started_again_has_new_meters() -> None:
    kernel = kernel_of(METERED)
    client = client_of(kernel)
    async with client:
        for _ in range(2):
            async with kernel:
                await kernel.loaded()
                await client.post("/v2/models/echo/infer", json=BODY)
                assert requests(kernel) == {("POST", INFER, "200"): 1}


async def test_without_a_meter_no_request_is_measured() -> None:
    kernel = kernel_of()
    async with kernel, client_of(kernel) as client:
        await kernel.loaded()
        assert (await client.post("/v2/models/echo/infer", json=BODY)).status_code == 200
