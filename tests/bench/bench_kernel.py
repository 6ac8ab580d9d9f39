"""What the kernel costs: `kernel.infer` against calling the model's `predict` directly.

Run it as a plain script. A request with one small tensor goes, turn by turn in one process, to the model
itself and through a kernel; figures are medians of several rounds, in CPU time of the process, which others
on the machine disturb least. A plain `predict` runs in a thread: that is compared with
`loop.run_in_executor`, the hop that asyncio itself has for it.
"""

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mlsrv import CallContext, Kernel, MLModel, ModelSettings
from mlsrv.testing import Offering, tensor_request
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput

ROUNDS = 15
CALLS = 3_000
AIM = 30.0
"""Microseconds of kernel for one call."""


def answer(payload: InferenceRequest) -> InferenceResponse:
    tensor = payload.inputs[0]
    output = ResponseOutput("output", tensor.shape, tensor.datatype, tensor.data)
    return InferenceResponse(outputs=[output])


class Async(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return answer(payload)


class Plain(MLModel):
    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # may be plain
        return answer(payload)


async def main() -> int:
    declared = [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    models = [
        ModelSettings(name="async", implementation=Async),
        ModelSettings(name="declared", implementation=Async, inputs=declared),
        ModelSettings(name="plain", implementation=Plain),
    ]
    array = np.ones((1, 4), np.float32)
    pool = ThreadPoolExecutor(4)
    loop = asyncio.get_running_loop()
    async with Kernel(models=models, plugins=[Offering()], discover=False) as kernel:
        await kernel.loaded()
        bare_async, bare_plain = Async(models[0]), Plain(models[2])
        requests = {model.name: tensor_request(model.name, array) for model in models}

        def through(name: str) -> Callable[[], Awaitable[Any]]:
            return lambda: kernel.infer(requests[name])

        async def with_deadline() -> None:
            await kernel.infer(requests["async"], CallContext.with_timeout(60))

        async def in_executor() -> None:
            await loop.run_in_executor(pool, bare_plain.predict, requests["plain"])

        figures = await measure(
            {
                "model.predict, async": lambda: bare_async.predict(requests["async"]),
                "kernel.infer, async": through("async"),
                "kernel.infer, declared inputs": through("declared"),
                "kernel.infer, a deadline": with_deadline,
                "run_in_executor(model.predict)": in_executor,
                "kernel.infer, plain": through("plain"),
            }
        )
    pool.shutdown()
    report(figures)
    return 0


async def measure(calls: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, float]:
    """CPU microseconds for one call of each, in turns: a slow moment of the machine hits all alike."""
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    gc.freeze()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(CALLS):
                await call()
            rounds[name].append((time.process_time() - start) / CALLS * 1e6)
    return {name: statistics.median(times) for name, times in rounds.items()}


def report(figures: dict[str, float]) -> None:
    base = figures["model.predict, async"]
    hop = figures["run_in_executor(model.predict)"]
    print(f"one small tensor, CPU microseconds a call, medians of {ROUNDS} x {CALLS} calls")
    print(f"{'':34}{'a call':>8}{'kernel':>10}")
    for name, figure in figures.items():
        against = hop if name.endswith("plain") else base
        kernel = f"{figure - against:+10.1f}" if name.startswith("kernel") else ""
        print(f"{name:34}{figure:8.1f}{kernel}")
    cost = figures["kernel.infer, async"] - base
    print(f"\nthe kernel costs {cost:.1f} microseconds a call; the aim is under {AIM:.0f}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
