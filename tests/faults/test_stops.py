"""SIGTERM at bad moments: the server ends in time, says so to whoever waits, and leaves nothing behind."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest

from mlsrv.testing import tensor_request
from mlsrv_protocol.grpc import INFERENCE, encode_request

pytestmark = pytest.mark.timeout(90)


def with_workers(implementation: str, *counts: int, **more: Any) -> Any:
    """The test with a server of this model, for each number of workers."""
    params = [{"implementation": implementation, "parallel_workers": count} | more for count in counts]
    return pytest.mark.parametrize(
        "server", params, indirect=True, ids=[f"{count} workers" for count in counts]
    )


@with_workers("models.Held", 0, 2, shutdown_timeout=1, model={"max_batch_size": 4, "max_batch_time": 0.05})
async def test_what_is_open_at_the_deadline_is_told_so(server: Any) -> None:
    url = f"{server.url}/v2/models/model/infer"
    body = encode_request(tensor_request("model", [[60.0]]))
    endless = {"inputs": [{"name": "input", "shape": [1, 1], "datatype": "FP64", "data": [60.0]}]}

    async def requests() -> AsyncIterator[bytes]:
        yield body
        await asyncio.Event().wait()

    async with (
        httpx.AsyncClient(timeout=30) as client,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        over_http = [asyncio.create_task(client.post(url, json=endless)) for _ in range(3)]
        unary = [channel.unary_unary(f"/{INFERENCE}/ModelInfer")(body, timeout=30) for _ in range(2)]
        stream = channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")(requests(), timeout=30)
        reading = asyncio.create_task(stream.read())
        while "6" not in await in_flight(client, server):
            await asyncio.sleep(0.05)
        log = await asyncio.to_thread(server.stop, 8)
        for answer in await asyncio.gather(*over_http):
            assert answer.status_code == 503
            assert "did not wait for this request any longer" in answer.json()["error"]
        for call in (*unary, stream):
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
        await asyncio.gather(reading, return_exceptions=True)
    assert "Requests that did not finish within 1 s are cut: 6 of model model" in log


async def in_flight(client: httpx.AsyncClient, server: Any) -> str:
    text = (await client.get(f"http://127.0.0.1:{server.metrics_port}/metrics")).text
    return next(line.rpartition(" ")[2] for line in text.splitlines() if "mlsrv_requests_in_flight{" in line)


@with_workers("models.Troubled", 0, 2, shutdown_timeout=1)
async def test_a_response_that_streams_on_is_cut(server: Any) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        url = f"{server.url}/v2/models/model/infer_stream"
        async with client.stream("POST", url, json=server.body(0.05)) as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith("data: ")
            await asyncio.to_thread(server.stop, 8)
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in lines:
                    pass


@with_workers("models.Held", 0)
def test_idle_connections_do_not_hold_it_up(server: Any) -> None:
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(500)]
    try:
        for connection in connections:
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        for connection in connections:
            assert b" 200 " in connection.recv(4096)
        began = time.monotonic()
        server.stop(5)
        assert time.monotonic() - began < 4
        for connection in connections:
            assert connection.recv(4096) == b""
    finally:
        for connection in connections:
            connection.close()


@with_workers("models.Slow", 0, 2, ready=False)
def test_a_model_that_loads_does_not_hold_it_up(server: Any) -> None:
    wait_for(lambda: "loading" in server.notes())
    server.stop(8)


@with_workers("models.Held", 2)
def test_a_worker_that_is_replaced_does_not_hold_it_up(server: Any) -> None:
    killed = server.workers
    for worker in killed:
        worker.kill()
    wait_for(lambda: {worker.pid for worker in server.workers} - {worker.pid for worker in killed})
    server.stop(8)


@with_workers("models.Deaf", 0, 2, shutdown_timeout=1)
async def test_requests_and_unloads_that_hang_share_one_time(server: Any) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        url = f"{server.url}/v2/models/model/infer"
        hanging = asyncio.create_task(client.post(url, json=server.body(0)))
        await asyncio.to_thread(wait_for, lambda: server.notes())
        # A second for requests, 5 s in which the transports may end, 3 s for threads, and some margin.
        await asyncio.to_thread(server.stop, 15)
        assert (await hanging).status_code == 503


@with_workers("models.Interrupted", 0, 2)
async def test_an_interrupt_that_a_model_raises_is_no_stop(server: Any) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        for number, status in ((0, 200), (1, 500), (2, 500), (2, 500), (0, 200)):
            answer = await client.post(f"{server.url}/v2/models/model/infer", json=server.body(number))
            assert answer.status_code == status
        assert (await client.get(f"{server.url}/v2/health/ready")).status_code == 200
    assert server.process.poll() is None


@with_workers("models.InterruptedLoad", 0, 2, ready=False)
def test_an_interrupt_that_a_load_raises_is_no_stop(server: Any) -> None:
    def failed() -> bool:
        try:
            [item] = httpx.post(f"{server.url}/v2/repository/index", json={}).json()
        except httpx.TransportError:
            return False
        return item["state"] == "UNAVAILABLE" and "KeyboardInterrupt" in item["reason"]

    wait_for(failed)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(15) == 0


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
