"""What the Ray executor adds to a call of an actor, and what a second node brings.

Run it as a plain script, with mlsrv-ray installed. It starts a cluster of two nodes on the loopback. The
first part calls a bare actor and a model that echoes, in turns: 4 KiB and 4 MiB, one call at a time. The
second part asks a model that takes 20 ms with one replica and with two.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlsrv import Kernel, ModelSettings
from mlsrv.testing import tensor_request

CLUSTER = Path(__file__).parents[2] / "plugins/executors/ray/tests/two_nodes.py"
ROUNDS = 5
CALLS = 60
SIZES = {"4 KiB": 2**10, "4 MiB": 2**20}
AT_ONCE = 32
SLOW_CALLS = 200

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


async def hops(kernel: Kernel) -> None:
    """Print what a call of the model takes beside one of a bare actor."""
    import ray

    class Bare:
        async def echo(self, array: Any) -> Any:
            return array

    actor: Any = ray.remote(Bare).options(num_cpus=0, max_concurrency=64).remote()
    for name, count in SIZES.items():
        array = np.zeros(count, np.float32)
        pairs = []
        for _ in range(ROUNDS):
            bare = await median(lambda array=array: actor.echo.remote(array))  # type: ignore[misc]  # the default binds it
            ours = await median(lambda array=array: kernel.infer(tensor_request("echo", array)))  # type: ignore[misc]  # likewise
            pairs.append((bare, ours))
        bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        added = statistics.median(ours - bare for bare, ours in pairs)
        ratio = statistics.median(ours / bare for bare, ours in pairs)
        print(f"{name}: bare actor {bare:.2f} ms, model {ours:.2f} ms: +{added:.2f} ms, {ratio:.2f}x")


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
        settings: dict[str, Any] = {"executor": "ray", "source": source}
        models = [
            ModelSettings("echo", "models.Echo", **settings),
            ModelSettings("one", "models.Slow", ray_concurrency=1, **settings),
            ModelSettings("two", "models.Slow", ray_concurrency=1, ray_replicas=2, **settings),
        ]
        async with Kernel({"ray_address": address, "parallel_workers": 0}, models=models) as kernel:
            await kernel.loaded()
            assert not kernel.problems()
            await hops(kernel)
            await nodes(kernel)


if __name__ == "__main__":
    if importlib.util.find_spec("mlsrv_ray") is None:
        sys.exit("mlsrv-ray is not installed: nothing is measured.")
    asyncio.run(main())
