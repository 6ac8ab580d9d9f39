"""Reloading under load: one model, 16 clients that never pause, five reloads in ten seconds.

Run it as a plain script; it fails if one request does. The model is in the same process or in a worker, and
is asked by `Kernel.infer`, or by REST over real sockets, against a server in a process of its own that is
reloaded over its repository API. Each is measured without reloads and with them. Times depend on the
machine; what counts is that nothing fails, that each new instance answers, and how far p99 moves.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from mlsrv import Kernel
from mlsrv.testing import tensor_request

CLIENTS = 16
SECONDS = 10.0
RELOADS = 5
REQUEST = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'

MODEL = """
import itertools, os, time

import numpy as np
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput


class Slow(MLModel):
    def load(self):
        time.sleep(0.3)
        self.weights = np.random.default_rng(0).random((64, 64))
        self.instance = time.time_ns()

    def predict(self, payload):
        np.asarray(payload.inputs[0].data).sum()
        return InferenceResponse(outputs=[ResponseOutput("instance", [1], "INT64", [self.instance])])
"""

SERVER = """
import asyncio, sys
from mlsrv import Kernel

async def main():
    settings = {"host": "127.0.0.1", "http_port": 0, "model_repository_root": sys.argv[1]}
    async with Kernel(settings | {"parallel_workers": int(sys.argv[2])}, block=["grpc"]) as kernel:
        await kernel.loaded()
        await kernel.serve(
            asyncio.Event().wait,
            started=lambda: print(kernel.transports["rest"].endpoints[0], flush=True),
        )

asyncio.run(main())
"""

Ask = Callable[[], Awaitable[int]]
"""Asks the model, and returns which instance answered."""


def main() -> int:
    with tempfile.TemporaryDirectory() as root:
        Path(root, "models.py").write_text(MODEL, encoding="utf-8")
        settings = {"name": "m", "implementation": "models.Slow"}
        Path(root, "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
        print(f"{CLIENTS} clients, {SECONDS:g} seconds, {RELOADS} reloads; milliseconds")
        columns = ("requests", "failed", "p50", "p99", "longest", "instances")
        print(f"{'':32}" + "".join(f"{column:>10}" for column in columns))
        failed = asyncio.run(in_process(root, 0)) + asyncio.run(in_process(root, 1))
        return min(1, failed + sum(asyncio.run(over_rest(root, workers)) for workers in (0, 1)))


async def in_process(root: str, workers: int) -> int:
    settings = {"model_repository_root": root, "parallel_workers": workers}
    async with Kernel(settings) as kernel:
        await kernel.loaded()
        row = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)

        async def ask() -> int:
            response = await kernel.infer(tensor_request("m", row))
            return int(response.outputs[0].data[0])

        return await with_and_without(f"kernel, {workers} workers", ask, lambda: kernel.load("m"))


async def over_rest(root: str, workers: int) -> int:
    command = [sys.executable, "-c", SERVER, root, str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            idle: list[Connection] = [await Connection.open(url) for _ in range(CLIENTS + 1)]

            async def post(path: str, body: bytes = b"") -> bytes:
                connection = idle.pop()
                try:
                    return await connection.post(path, body)
                finally:
                    idle.append(connection)

            async def ask() -> int:
                answer = json.loads(await post("/v2/models/m/infer", REQUEST))
                return int(answer["outputs"][0]["data"][0])

            return await with_and_without(
                f"REST, {workers} workers", ask, lambda: post("/v2/repository/models/m/load")
            )
        finally:
            process.terminate()


class Connection:
    """One HTTP connection; a smaller client than a real one, which would be what is measured."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> Connection:
        parts = urlsplit(url)
        return cls(parts.netloc, *await asyncio.open_connection(parts.hostname, parts.port))

    async def post(self, path: str, body: bytes) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        [size] = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
        answer = await self._reader.readexactly(size)
        if lines[0].split()[1] != b"200":
            raise RuntimeError(answer.decode())
        return answer


async def with_and_without(name: str, ask: Ask, reload: Callable[[], Awaitable[object]]) -> int:
    """Measure both, and print a line for each. Returns how many requests failed."""
    failed = 0
    for reloads in (0, RELOADS):
        times: list[float] = []
        instances: set[int] = set()
        failures: list[Exception] = []

        async def hammer(ended: asyncio.Task[None]) -> None:
            while not ended.done():
                started = time.perf_counter()
                try:
                    instances.add(await ask())  # noqa: B023  # called before the loop goes on
                except Exception as error:  # each is counted, and some are shown
                    failures.append(error)  # noqa: B023
                times.append(time.perf_counter() - started)  # noqa: B023

        ended = asyncio.create_task(reload_and_wait(reload, reloads))
        await asyncio.gather(ended, *(hammer(ended) for _ in range(CLIENTS)))
        times.sort()
        figures = [times[len(times) // 2], times[len(times) * 99 // 100], times[-1]]
        shown = "".join(f"{figure * 1000:10.1f}" for figure in figures)
        title = f"{name}, {reloads} reloads"
        print(f"{title:32}{len(times):10}{len(failures):10}{shown}{len(instances):10}", flush=True)
        for failure in failures[:3]:
            print(f"  {type(failure).__name__}: {failure}")
        assert failures or len(instances) == reloads + 1, "not every reload was served"
        failed += len(failures)
    return failed


async def reload_and_wait(reload: Callable[[], Awaitable[object]], times: int) -> None:
    """Spread reloads over the time of one measurement."""
    pause = SECONDS / (RELOADS + 1)
    for number in range(RELOADS + 1):
        await asyncio.sleep(pause)
        if number < times:
            await reload()


if __name__ == "__main__":
    sys.exit(main())
