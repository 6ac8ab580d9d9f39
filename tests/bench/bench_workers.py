"""What a worker process costs, and what it brings: the same models with 0, 1 and 2 workers.

Run it as a plain script. It measures `kernel.infer`, without any transport: a model that does nothing and the
iris model of tests/examples, one call after the other (the medians say what the way to a worker costs); a
model that holds the interpreter for 5 ms, with 8 callers (two workers against one); and a tensor of 4 MiB
there and back against copying it twice. Times depend on the machine and on who else uses it; what counts are
the differences and ratios of one run.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.testing import EchoModel, tensor_request
from mlsrv.types import InferenceRequest, InferenceResponse

IRIS = Path(__file__).parents[1] / "examples/iris/model-settings.json"
CALLS = 1_000
CALLERS = 8
SECONDS = 3.0
HELD = 0.005
TENSOR = 1_048_576


class Holder(MLModel):
    """Holds the interpreter for some milliseconds of its own processor time."""

    def predict(self, payload: InferenceRequest) -> InferenceResponse:
        end = time.thread_time() + HELD
        while time.thread_time() < end:
            pass
        return InferenceResponse(outputs=[])


def main() -> int:
    asyncio.run(measure())
    return 0


async def measure() -> None:
    row = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)
    print(f"one call after the other, microseconds, medians of {CALLS} calls")
    print(f"{'workers':28}{'0':>10}{'1':>10}{'2':>10}{'1 adds':>10}")
    for name, array in (("echo", row), ("iris", row.astype(np.float64))):
        medians = [await median(workers, name, array) for workers in (0, 1, 2)]
        print(f"{name:28}" + "".join(f"{value:10.0f}" for value in [*medians, medians[1] - medians[0]]))
    one, two = [await rate(workers) for workers in (1, 2)]
    print(f"\n{CALLERS} callers, {HELD * 1000:.0f} ms of a held interpreter, calls per second")
    print(f"1 worker {one:.0f}, 2 workers {two:.0f}: ratio {two / one:.2f}")
    tensor = np.random.default_rng(0).random(TENSOR, dtype=np.float32)
    there_and_back, copies = await median(1, "echo", tensor, calls=200), copying(tensor)
    print(f"\n{tensor.nbytes >> 20} MiB there and back, microseconds")
    print(f"1 worker {there_and_back:.0f}, two copies {copies:.0f}: ratio {there_and_back / copies:.1f}")


@asynccontextmanager
async def serving(workers: int) -> AsyncIterator[Kernel]:
    # Run as a script, this module is __main__, which no other process can import by that name.
    holder = sys.modules[__name__] if __name__ != "__main__" else __import__(Path(__file__).stem)
    models = [
        ModelSettings("echo", EchoModel),
        ModelSettings.parse_file(IRIS),
        ModelSettings("holder", holder.Holder),
    ]
    async with Kernel({"parallel_workers": workers}, models=models, block=["mlsrv-cache"]) as kernel:
        await kernel.loaded()
        assert kernel.ready, kernel.problems()
        yield kernel


async def median(workers: int, model: str, array: Any, calls: int = CALLS) -> float:
    """Microseconds of a call."""
    request = tensor_request(model, array)
    async with serving(workers) as kernel:
        for _ in range(calls // 10):
            await kernel.infer(request)
        times = []
        for _ in range(calls):
            began = time.perf_counter()
            await kernel.infer(request)
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


async def rate(workers: int) -> float:
    """Calls per second to the model that holds the interpreter."""
    request = tensor_request("holder", [1.0])
    done = 0

    async def caller(kernel: Kernel, until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await kernel.infer(request)
            done += 1

    async with serving(workers) as kernel:
        began = time.perf_counter()
        await asyncio.gather(*(caller(kernel, began + SECONDS) for _ in range(CALLERS)))
        return done / (time.perf_counter() - began)


def copying(array: Any) -> float:
    """Microseconds of copying an array twice."""
    first, second = np.empty_like(array), np.empty_like(array)
    times = []
    for _ in range(200):
        began = time.perf_counter()
        first[:] = array
        second[:] = first
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


if __name__ == "__main__":
    sys.exit(main())
