"""What the Ray executor adds to a call of an actor, and what a second node brings.

Run it as a plain script, with mlsrv-ray installed. It starts a cluster of two nodes on the loopback. The
first part calls a bare actor and a model that echoes, in turns, both on the same node: 4 KiB and 4 MiB, one
call at a time. The second part has many clients send rows to the echo, and to the iris model, in batches of
32, there and in a local worker: what counts is the CPU time of all processes, those of the cluster, too. The
third part asks a model that takes 20 ms with one replica and with two.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mlsrv import Kernel, ModelSettings
from mlsrv.testing import tensor_request

CLUSTER = Path(__file__).parents[2] / "plugins/executors/ray/tests/loopback_cluster.py"
IRIS = str(Path(__file__).parents[1] / "examples/iris/model.skops")
ROUNDS = 5
CALLS = 60
SIZES = {"4 KiB": 2**10, "4 MiB": 2**20}
NODES = ("first", "second")
"""Resources of the nodes. The server is connected to the first: large arrays are copied to the second."""

AT_ONCE = 32
SLOW_CALLS = 200
BATCH = 32
CLIENTS = 64
BATCHED_CALLS = 8000
TICKS = os.sysconf("SC_CLK_TCK")

MODELS = """
import asyncio
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Echo(MLModel):
    async def predict(self, payload):
        (tensor,) = payload.inputs
        return InferenceResponse(outputs=[ResponseOutput("y", tensor.shape, tensor.datatype, tensor.data)])

class Slow(Echo):
    async def predict(self, payload):
        await asyncio.sleep(0.02)
        return await super().predict(payload)
"""


@contextmanager
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes."""
    process = subprocess.Popen(
        [sys.executable, str(CLUSTER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield next(json.loads(line)["address"] for line in process.stdout if line.startswith("{"))
    finally:
        process.communicate(timeout=60)


async def median(ask: Callable[[], Awaitable[object]], calls: int = CALLS) -> float:
    """Milliseconds of a call."""
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        await ask()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


async def hops(kernel: Kernel, node: str) -> None:
    """Print what a call of the model on a node takes beside one of a bare actor there."""
    import ray

    class Bare:
        async def echo(self, array: Any) -> Any:
            return array

    options = {"num_cpus": 0, "max_concurrency": 64, "resources": {node: 1}}
    actor: Any = ray.remote(Bare).options(**options).remote()
    for name, count in SIZES.items():
        array = np.zeros(count, np.float32)
        pairs = []
        for _ in range(ROUNDS):
            bare = await median(lambda array=array: actor.echo.remote(array))  # type: ignore[misc]  # the default binds it
            ours = await median(lambda array=array: kernel.infer(tensor_request(node, array)))  # type: ignore[misc]  # likewise
            pairs.append((bare, ours))
        bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        added = statistics.median(ours - bare for bare, ours in pairs)
        ratio = statistics.median(ours / bare for bare, ours in pairs)
        took = f"bare actor {bare:.2f} ms, model {ours:.2f} ms"
        print(f"{name}, {node} node: {took}: {added:+.2f} ms, {ratio:.2f}x")


def cpu_seconds() -> float:
    """CPU time of this process and of all that it has started, the cluster and the workers."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = path.read_text().rpartition(")")[2].split()
            pid = int(path.parent.name)
            parents[pid] = int(fields[1])
            used[pid] = sum(map(int, fields[11:13])) / TICKS
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours and pid not in ours}:
        ours |= more
    return sum(used[pid] for pid in ours)


async def cost(kernel: Kernel, name: str) -> float:
    """Answers per second of CPU time, with many clients that send one row after the other."""
    left = BATCHED_CALLS
    request = tensor_request(name, np.array([[5.1, 3.5, 1.4, 0.2]]))

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await kernel.infer(request)

    began = cpu_seconds()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return BATCHED_CALLS / (cpu_seconds() - began)


async def batches(kernel: Kernel) -> None:
    """Print what a request in a batch costs beside one in a local worker."""
    for model in ("echo", "iris"):
        pairs = [(await cost(kernel, model), await cost(kernel, f"{model} there")) for _ in range(ROUNDS)]
        here, there = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(there / here for here, there in pairs)
        print(
            f"{model} in batches of {BATCH}, answers per CPU-second: "
            f"local worker {here:.0f}, cluster {there:.0f}: {ratio:.2f}x"
        )


async def rate(kernel: Kernel, name: str) -> float:
    """Requests a second of a slow model."""
    request = tensor_request(name, np.zeros(4, np.float32))
    waiting = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with waiting:
            await kernel.infer(request)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(SLOW_CALLS)))
    return SLOW_CALLS / (time.perf_counter() - began)


async def nodes(kernel: Kernel) -> None:
    """Print what a second replica brings."""
    pairs = [(await rate(kernel, "one"), await rate(kernel, "two")) for _ in range(ROUNDS)]
    one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(two / one for one, two in pairs)
    print(f"a model of 20 ms, one at a time: {one:.0f}/s on one node, {two:.0f}/s on two: {ratio:.2f}x")


async def main() -> None:
    """Measure."""
    with cluster() as address, tempfile.TemporaryDirectory() as folder:
        Path(folder, "models.py").write_text(MODELS)
        source = Path(folder, "model-settings.json")
        batched: dict[str, Any] = {"max_batch_size": BATCH, "max_batch_time": 0.01}
        settings: dict[str, Any] = {"executor": "ray", "source": source}
        models = [
            *(ModelSettings(node, "models.Echo", ray_resources={node: 1}, **settings) for node in NODES),
            *(
                ModelSettings(f"{name}{more}", code, given, executor=executor, source=source, **batched)
                for name, code, given in (("echo", "models.Echo", {}), ("iris", "sklearn", {"uri": IRIS}))
                for more, executor in (("", "workers"), (" there", "ray"))
            ),
            ModelSettings("one", "models.Slow", ray_concurrency=1, **settings),
            ModelSettings("two", "models.Slow", ray_concurrency=1, ray_replicas=2, **settings),
        ]
        async with Kernel({"ray_address": address, "parallel_workers": 1}, models=models) as kernel:
            await kernel.loaded()
            assert not kernel.problems(), kernel.problems()
            for node in NODES:
                await hops(kernel, node)
            await batches(kernel)
            await nodes(kernel)


if __name__ == "__main__":
    if importlib.util.find_spec("mlsrv_ray") is None:
        sys.exit("mlsrv-ray is not installed: nothing is measured.")
    asyncio.run(main())
