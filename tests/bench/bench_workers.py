"""What a worker process costs, and what it brings: the same models with 0, 1 and 2 workers.

Run it as a plain script. It measures `kernel.infer`, without any transport, on the event loop that the
command line would take: a model that does nothing and the iris model of tests/examples, one call after the
other (the medians say what the way to a worker costs); a model that holds the interpreter for 5 ms, with 8
callers (two workers against one); and a tensor of 4 MiB there and back against copying it twice, and against
two bare processes that copy it through shared memory and wake each other with a byte. All servers
run side by side and are measured in turns, so that a slow moment of the machine hits all alike; times depend
on the machine and on who else uses it, so differences and ratios count. Two workers need two free cores to
show what they bring, and the line before the ratios says how much of them others took.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import mmap
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.testing import EchoModel, tensor_request
from mlsrv.types import InferenceRequest, InferenceResponse

IRIS = Path(__file__).parents[1] / "examples/iris/model-settings.json"
ROUNDS = 7
CALLS = 200
LARGE_CALLS = 40
CALLERS = 8
SECONDS = 1.5
HELD = 0.005
TENSOR = 1_048_576
MOST_ADDED = 300.0
LEAST_RATIO = 1.8
MOST_COPIES = 4.0


class Holder(MLModel):
    """Holds the interpreter for some milliseconds of its own processor time."""

    def predict(self, payload: InferenceRequest) -> InferenceResponse:
        end = time.thread_time() + HELD
        while time.thread_time() < end:
            pass
        return InferenceResponse(outputs=[])


def main() -> int:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(measure())
    return 0


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, if that is installed, as the command line has it."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory


async def measure() -> None:
    async with AsyncExitStack() as stack:
        kernels = [await stack.enter_async_context(kernel_of(workers)) for workers in (0, 1, 2)]
        for kernel in kernels:
            await kernel.loaded()
            assert kernel.ready, kernel.problems()
        await report_way(kernels)
        await report_holder(kernels[1:])
        await report_tensor(kernels[1])


def kernel_of(workers: int) -> Kernel:
    # Run as a script, this module is __main__, which no other process can import by that name.
    holder = sys.modules[__name__] if __name__ != "__main__" else __import__(Path(__file__).stem)
    models = [
        ModelSettings("echo", EchoModel),
        ModelSettings.parse_file(IRIS),
        ModelSettings("holder", holder.Holder),
    ]
    return Kernel({"parallel_workers": workers}, models=models, block=["mlsrv-cache"])


async def report_way(kernels: list[Kernel]) -> None:
    row = np.array([[5.1, 3.5, 1.4, 0.2]])
    print(f"one call after the other, microseconds, medians of {ROUNDS} x {CALLS} calls")
    print(f"{'workers':12}{'0':>10}{'1':>10}{'2':>10}{'1 adds':>10}{'aim':>10}")
    for name in ("echo", "iris"):
        request = tensor_request(name, row)
        rounds = [[await median(kernel, request, CALLS) for kernel in kernels] for _ in range(ROUNDS)]
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        added = statistics.median(one - none for none, one, _ in rounds)
        figures = [*medians, added, MOST_ADDED]
        print(f"{name:12}" + "".join(f"{figure:10.0f}" for figure in figures))


async def report_holder(kernels: list[Kernel]) -> None:
    pairs, taken = [], []
    for _ in range(ROUNDS):
        psutil.cpu_times_percent()
        one, two = [await rate(kernel) for kernel in kernels]
        taken.append(100 - psutil.cpu_times_percent().idle)
        pairs.append((one, two))
    one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(two / one for one, two in pairs)
    print(f"\n{CALLERS} callers, {HELD * 1000:.0f} ms of a held interpreter, calls per second")
    print(f"all processors were busy {statistics.median(taken):.0f} % of the time, ours and others'")
    print(
        f"1 worker {one:.0f}, 2 workers {two:.0f}: ratio {statistics.median(ratios):.2f} "
        f"(from {ratios[0]:.2f} to {ratios[-1]:.2f}; aim {LEAST_RATIO})"
    )


async def report_tensor(kernel: Kernel) -> None:
    tensor = np.random.default_rng(0).random(TENSOR, dtype=np.float32)
    request = tensor_request("echo", tensor)
    rounds = []
    with BareProcess(tensor) as bare:
        for _ in range(ROUNDS):
            rounds.append((await median(kernel, request, LARGE_CALLS), copying(tensor), bare.median()))
    there, copies, least = (statistics.median(column) for column in zip(*rounds, strict=True))
    to_copies = statistics.median(one / two for one, two, _ in rounds)
    to_bare = statistics.median(one / two for one, _, two in rounds)
    print(f"\n{tensor.nbytes >> 20} MiB there and back, microseconds")
    print(f"1 worker {there:.0f}, two copies {copies:.0f}: ratio {to_copies:.1f} (aim {MOST_COPIES})")
    print(f"1 worker {there:.0f}, two bare processes {least:.0f}: ratio {to_bare:.2f}")


async def median(kernel: Kernel, request: InferenceRequest, calls: int) -> float:
    """Microseconds of a call."""
    for _ in range(calls // 10):
        await kernel.infer(request)
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        await kernel.infer(request)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


async def rate(kernel: Kernel) -> float:
    """Calls per second to the model that holds the interpreter."""
    request = tensor_request("holder", [1.0])
    done = 0

    async def caller(until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await kernel.infer(request)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller(began + SECONDS) for _ in range(CALLERS)))
    return done / (time.perf_counter() - began)


def copying(array: Any) -> float:
    """Microseconds of copying an array twice."""
    first, second = np.empty_like(array), np.empty_like(array)
    times = []
    for _ in range(LARGE_CALLS):
        began = time.perf_counter()
        first[:] = array
        second[:] = first
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


class BareProcess:
    """Another process that copies an array from one block of shared memory to another when it gets a byte."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._blocks = [np.frombuffer(mmap.mmap(-1, array.nbytes), array.dtype) for _ in range(2)]
        self._socket, self._theirs = socket.socketpair()

    def __enter__(self) -> BareProcess:
        self._process = multiprocessing.get_context("fork").Process(target=self._serve)
        self._process.start()
        self._theirs.close()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()
        self._process.join()

    def _serve(self) -> None:
        self._socket.close()
        there, back = self._blocks
        while self._theirs.recv(1):
            back[:] = there
            self._theirs.send(b"x")
        os._exit(0)  # without what the event loop of the parent has registered

    def median(self) -> float:
        """Microseconds for there and back."""
        times = []
        for _ in range(LARGE_CALLS):
            began = time.perf_counter()
            self._blocks[0][:] = self._array
            self._socket.send(b"x")
            self._socket.recv(1)
            times.append(time.perf_counter() - began)
        return statistics.median(times) * 1e6


if __name__ == "__main__":
    sys.exit(main())
