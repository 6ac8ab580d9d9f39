"""What batching brings, and what it costs who comes alone: the iris model with and without it.

Run it as a plain script. It measures `kernel.infer`, without any transport, with the default of one worker:
answers per second with 32 clients that each send one row after the other, and the median time of one client
that is alone. Both servers run side by side and are measured in turns; what counts are the ratios.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
from bench_workers import loop_factory

from mlsrv import Kernel, ModelSettings
from mlsrv.testing import tensor_request

IRIS = Path(__file__).parents[1] / "examples/iris/model.skops"
CLIENTS = 32
ROUNDS = 7
SECONDS = 1.0
CALLS = 200
LEAST_RATIO = 2.5
WAYS: dict[str, dict[str, Any]] = {
    "without": {},
    "with": {"max_batch_size": CLIENTS, "max_batch_time": 0.01},
    "auto": {"max_batch_size": CLIENTS, "max_batch_time": "auto"},
}


def main() -> int:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(measure())
    return 0


async def measure() -> None:
    async with AsyncExitStack() as stack:
        kernels = [await stack.enter_async_context(kernel_of(fields)) for fields in WAYS.values()]
        for kernel in kernels:
            await kernel.loaded()
            assert kernel.ready, kernel.problems()
        rates = [[await rate(kernel) for kernel in kernels] for _ in range(ROUNDS)]
        print(f"iris, one worker, {CLIENTS} clients, answers per second, medians of {ROUNDS} x {SECONDS:g} s")
        report(rates, f"aim at least {LEAST_RATIO}")
        alone = [[await median(kernel) for kernel in kernels] for _ in range(ROUNDS)]
        print(f"\niris, one worker, one client, microseconds, medians of {ROUNDS} x {CALLS} calls")
        report(alone, "aim 1")


def report(rounds: list[list[float]], aim: str) -> None:
    print(f"{'batching':12}{'':>10}{'ratio':>8}")
    for index, (name, column) in enumerate(zip(WAYS, zip(*rounds, strict=True), strict=True)):
        ratio = statistics.median(figures[index] / figures[0] for figures in rounds)
        print(f"{name:12}{statistics.median(column):10.0f}{ratio:8.2f}" + (f"  {aim}" if index else ""))


def kernel_of(fields: dict[str, Any]) -> Kernel:
    parameters = {"uri": str(IRIS)}
    model = ModelSettings("iris", "sklearn", parameters, **fields)
    return Kernel({"parallel_workers": 1}, models=[model], block=["mlsrv-cache"])


def row() -> Any:
    return tensor_request("iris", np.array([[5.1, 3.5, 1.4, 0.2]]))


async def rate(kernel: Kernel) -> float:
    """Answers per second to many clients."""
    done = 0

    async def client(until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await kernel.infer(row())
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(client(began + SECONDS) for _ in range(CLIENTS)))
    return done / (time.perf_counter() - began)


async def median(kernel: Kernel) -> float:
    """Microseconds of a call when nobody else calls."""
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        await kernel.infer(row())
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


if __name__ == "__main__":
    sys.exit(main())
