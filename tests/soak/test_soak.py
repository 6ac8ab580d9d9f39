"""A server under full load for a while, whose models come and go: no error, no growth, nothing left behind.

It runs for as many seconds as ``SOAK_SECONDS`` says: a few by default, minutes by ``nox -s soak``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import pytest
from attrs import define, field

from mlsrv.testing import tensor_request
from mlsrv_protocol.grpc import INFERENCE, decode_response, encode_request
from mlsrv_protocol.json import decode_response as from_json
from mlsrv_protocol.json import encode_request as to_json

SECONDS = float(os.environ.get("SOAK_SECONDS", "12"))
WARM_UP = SECONDS / 4
GROWTH = 24 * 2**20
"""Bytes by which all processes together may grow after the warm-up, for allocators settle slowly. A leak of a
tensor, or of a model that was unloaded, is far beyond it in a few minutes."""

pytestmark = pytest.mark.timeout(SECONDS + 200)

ECHO, THREADED = "mlsrv.testing.EchoModel", "mlsrv.testing.ThreadedEchoModel"
MODELS = {
    "echo": {"implementation": ECHO},
    "threaded": {"implementation": THREADED},
    "batched": {"implementation": THREADED, "max_batch_size": 8, "max_batch_time": 0.01},
    "cached": {"implementation": ECHO, "cache_enabled": True},
    "inside": {"implementation": ECHO, "parallel_workers": 0},
    "reloaded": {"implementation": ECHO},
    "slow": {"implementation": "mlsrv.testing.SlowModel", "parameters": {"extra": {"seconds": 5}}},
    "guest": {"implementation": ECHO},
    "loner": {"implementation": ECHO, "parallel_workers": 1},
}
STEADY = ("echo", "threaded", "batched", "cached", "inside", "reloaded")
SIZES = (4, 4, 4, 4, 1000, 4, 10_000)
"""Numbers in a request; the most go through shared memory."""


@define
class Soaked:
    """The server, and what its clients saw."""

    process: subprocess.Popen[bytes]
    url: str
    rpc: str
    answers: int = 0
    changes: int = 0
    failures: list[str] = field(factory=list)

    def family(self) -> list[psutil.Process]:
        """The server and its workers."""
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def belongings(self) -> tuple[int, int, int]:
        """Processes, descriptors, and maps of shared memory that there are now."""
        processes = descriptors = shared_memories = 0
        for one in self.family():
            try:
                descriptors += one.num_fds()
                shared_memories += sum(
                    "mlsrv-shared-memory" in found.path for found in one.memory_maps(grouped=False)
                )
            except psutil.NoSuchProcess:  # a worker that has just ended
                continue
            processes += 1
        return processes, descriptors, shared_memories

    def memory(self) -> int:
        """Bytes that these processes have; what they share counts once."""
        return sum(one.memory_full_info().pss for one in self.family())


@contextmanager
def serving(folder: Path, ports: tuple[int, int]) -> Iterator[Soaked]:
    """``mlsrv start`` with the models, in two workers."""
    for name, values in MODELS.items():
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **values}))
    values = {"host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1], "parallel_workers": 2}
    (folder / "settings.json").write_text(json.dumps(values | {"cache_enabled": True}))
    with (folder / "log").open("wb") as log:
        command = [str(Path(sys.executable).parent / "mlsrv"), "start", str(folder)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield Soaked(process, f"http://127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}")
    finally:
        process.kill()
        process.wait(20)


@asynccontextmanager
async def running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """While some work goes on."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def requests(start: int) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Models and tensors, without end."""
    random = np.random.default_rng(start)
    for number in itertools.count(start):
        yield STEADY[number % len(STEADY)], random.random((1, SIZES[number % len(SIZES)]))


async def ask_rest(server: Soaked, start: int) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        for model, array in requests(start):
            url = f"{server.url}/v2/models/{model}/infer"
            answer = await client.post(url, content=to_json(tensor_request(model, array)))
            if answer.status_code != 200:
                server.failures.append(f"REST {model}: {answer.status_code} {answer.text[:300]}")
            elif not np.array_equal(from_json(answer.content).outputs[0].data, array.ravel()):
                server.failures.append(f"REST {model}: another answer than asked for")
            server.answers += 1


async def ask_grpc(server: Soaked, start: int) -> None:
    async with grpc.aio.insecure_channel(server.rpc) as channel:
        call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        for model, array in requests(start):
            try:
                answer = await call(encode_request(tensor_request(model, array)), timeout=60)
            except grpc.aio.AioRpcError as error:
                server.failures.append(f"gRPC {model}: {error.code()} {error.details()}")
            else:
                if not np.array_equal(decode_response(answer).outputs[0].data, array.ravel()):
                    server.failures.append(f"gRPC {model}: another answer than asked for")
            server.answers += 1


async def ask_streams(server: Soaked) -> None:
    """Streams that are read to their end."""
    request = to_json(tensor_request("echo", np.arange(4.0)))
    async with httpx.AsyncClient(timeout=60) as client:
        while True:
            url = f"{server.url}/v2/models/echo/infer_stream"
            answer = await client.post(url, content=request)
            if answer.status_code != 200 or not answer.text.startswith("data: {"):
                server.failures.append(f"stream: {answer.status_code} {answer.text[:300]}")
            server.answers += 1
            await asyncio.sleep(0.05)


async def leave_early(server: Soaked) -> None:
    """Clients that do not wait for their answer."""
    request = to_json(tensor_request("slow", np.zeros((1, 20_000))))
    async with httpx.AsyncClient(timeout=0.2) as client:
        while True:
            try:
                await client.post(f"{server.url}/v2/models/slow/infer", content=request)
            except httpx.TimeoutException:
                continue
            server.failures.append("the slow model was quick")


async def change(server: Soaked) -> None:
    """Load and unload, every second; a pool of its own comes and goes every fifth time."""
    async with httpx.AsyncClient(base_url=f"{server.url}/v2/repository/models", timeout=60) as client:
        for number in itertools.count():
            began = time.monotonic()
            steps = ["guest/unload", "guest/load", "reloaded/load"]
            steps += ["loner/unload", "loner/load"] if number % 5 == 0 else []
            for step in steps:
                answer = await client.post(f"/{step}")
                if answer.status_code != 200:
                    server.failures.append(f"{step}: {answer.status_code} {answer.text[:300]}")
            server.changes += 1
            await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))


async def eventually(condition: Callable[[], Any], what: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what()
        await asyncio.sleep(0.05)


async def is_ready(server: Soaked) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"{server.url}/v2/health/ready")).status_code == 200
        except httpx.TransportError:
            return False


async def load(server: Soaked, seconds: float) -> None:
    """Everything at once, for some time."""
    clients = [ask_rest(server, start) for start in range(0, 400, 100)]
    clients += [ask_grpc(server, start) for start in range(1000, 1400, 100)]
    async with running(*clients, ask_streams(server), leave_early(server), change(server)):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not server.failures and server.process.poll() is None:
            await asyncio.sleep(0.2)
    # The last change may have been cut short.
    async with httpx.AsyncClient(base_url=f"{server.url}/v2/repository/models", timeout=60) as client:
        for name in ("guest", "loner"):
            await client.post(f"/{name}/load")
    assert not server.failures
    await eventually(lambda: settled(server), lambda: "it does not come to rest")


async def test_a_server_under_load_neither_fails_nor_grows(tmp_path: Path, free_ports: Any) -> None:
    with serving(tmp_path, free_ports) as server:
        while not await is_ready(server):
            assert server.process.poll() is None, (tmp_path / "log").read_text()
            await asyncio.sleep(0.1)
        await load(server, WARM_UP)
        before, warm = server.belongings(), server.memory()
        await load(server, SECONDS - WARM_UP)
        late = server.memory()
        print(
            f"\n{server.answers} answers, {server.changes} rounds of loads and unloads, "
            f"{warm / 2**20:.1f} MiB before and {late / 2**20:.1f} MiB after; "
            "%d processes, %d descriptors, %d maps of shared memory" % before
        )
        await eventually(lambda: server.belongings() == before, lambda: f"{before}: {server.belongings()}")
        assert late - warm < GROWTH
        assert await is_ready(server)
        family = server.family()
        server.process.terminate()
        assert await asyncio.to_thread(server.process.wait, 30) == 0
        assert not [one for one in family if one.is_running()]
        log = (tmp_path / "log").read_text()
        assert not [line for line in log.splitlines() if " ERROR " in line or " WARNING " in line], log


def settled(server: Soaked) -> bool:
    """Whether two looks a moment apart see the same."""
    first = server.belongings()
    time.sleep(0.5)
    return first == server.belongings()


@pytest.fixture
def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
