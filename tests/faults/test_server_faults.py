"""A server with workers, as a process of its own: its death, its stop under load, clients that go away."""

import asyncio
import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from mlsrv.testing import tensor_request
from mlsrv_protocol.grpc import INFERENCE, encode_request

pytestmark = pytest.mark.timeout(90)


def gone(processes: list[psutil.Process], seconds: float = 5.0) -> bool:
    """Whether all have ended in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes):
            return True
        time.sleep(0.01)
    return False


def test_workers_end_with_their_server(server: Any, tmp_path: Path) -> None:
    workers = server.workers
    assert len(workers) == 2
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        body = json.dumps(server.body(-1.0)).encode()  # one worker holds its interpreter for ever
        head = f"POST /v2/models/model/infer HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        wait_for_note(tmp_path, "begun")
        server.process.kill()
        server.process.wait(10)
        assert gone(workers)


def test_a_client_that_goes_away_cancels_its_request(server: Any, tmp_path: Path) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v2/models/model/infer", json=server.body(60.0), timeout=1.0)
    wait_for_note(tmp_path, "cancelled")
    assert httpx.post(f"{server.url}/v2/models/model/infer", json=server.body(0.0)).status_code == 200


def wait_for_note(folder: Path, what: str) -> None:
    end = time.monotonic() + 15
    while what not in (folder / "notes").read_text() if (folder / "notes").exists() else True:
        assert time.monotonic() < end, f"the model was never {what}"
        time.sleep(0.01)


async def test_a_stop_under_load_loses_no_accepted_request(server: Any, tmp_path: Path) -> None:
    workers = server.workers
    answers: list[int] = []

    async def client(seconds: float, once: bool = False) -> None:
        async with httpx.AsyncClient(timeout=30, verify=False) as http:
            while True:
                try:
                    url = f"{server.url}/v2/models/model/infer"
                    response = await http.post(url, json=server.body(seconds))
                except httpx.TransportError:
                    return  # it accepts no more; what it did accept is counted below
                answers.append(response.status_code)
                if once or response.status_code == 503:
                    return

    slow = asyncio.create_task(client(2.0, once=True))
    await asyncio.to_thread(wait_for_note, tmp_path, "begun")
    clients = [asyncio.create_task(client(0.05)) for _ in range(16)]
    while len(answers) < 50:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    await asyncio.gather(slow, *clients)
    assert await asyncio.to_thread(server.process.wait, 15) == 0
    assert time.monotonic() - began < 8
    assert gone(workers, 1.0)
    assert set(answers) <= {200, 503}
    # Every request that reached the model was answered to its client.
    assert answers.count(200) == (tmp_path / "notes").read_text().split().count("begun")


async def test_a_stop_under_load_over_grpc_loses_none_either(server: Any, tmp_path: Path) -> None:
    workers = server.workers
    answers: list[grpc.StatusCode] = []

    async def client(seconds: float, once: bool = False) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
            while True:
                try:
                    await call(encode_request(tensor_request("model", [seconds])), timeout=30)
                except grpc.aio.AioRpcError as error:
                    answers.append(error.code())
                    return
                answers.append(grpc.StatusCode.OK)
                if once:
                    return

    slow = asyncio.create_task(client(2.0, once=True))
    await asyncio.to_thread(wait_for_note, tmp_path, "begun")
    clients = [asyncio.create_task(client(0.05)) for _ in range(16)]
    while len(answers) < 50:
        await asyncio.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    await asyncio.gather(slow, *clients)
    assert await asyncio.to_thread(server.process.wait, 15) == 0
    assert gone(workers, 1.0)
    assert set(answers) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert answers.count(grpc.StatusCode.OK) == (tmp_path / "notes").read_text().split().count("begun")


def test_a_second_signal_ends_at_once(server: Any, tmp_path: Path) -> None:
    workers = server.workers
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        body = json.dumps(server.body(60.0)).encode()
        head = f"POST /v2/models/model/infer HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        wait_for_note(tmp_path, "begun")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(10)
        assert time.monotonic() - began < 4
        assert gone(workers)
