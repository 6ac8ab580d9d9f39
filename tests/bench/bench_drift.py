"""Costs of watching for drift on the way of an answer: one request to a model that does nothing, in this
process, with the watch and without, in turns; and the same while the watch cannot follow.

Run it as a plain script. "off again" shows how much two equal models differ. What counts is the time of one
request, the mean of the fastest tenth of the rounds; the thread of the watch works at the same time.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time

import numpy as np

import mlsrv_drift.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel, tensor_request
from mlsrv_drift.monitors import Monitors

LIMIT = 10.0
"""Microseconds that the watch may cost."""
ROUNDS = 200
REQUESTS = 200
SHAPES = {
    "1 x 4": (1, 4),
    "1 x 100": (1, 100),
    "100 x 100 (40 kB)": (100, 100),
    "1000 x 1000 (4 MB)": (1000, 1000),
}

WATCHED = {"drift_enabled": True, "drift_learn": 1000, "drift_window": 1000}
VARIANTS = {
    "off": {},
    "off again": {},
    "on": WATCHED,
    "cannot follow": WATCHED | {"drift_queue": 1},
}


async def measure(kernel: Kernel, values: np.ndarray, rounds: int) -> dict[str, float]:
    """Microseconds of a request to each variant."""
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name, taken in seconds.items():
            request = tensor_request(name, values)
            began = time.perf_counter()
            for _ in range(REQUESTS):
                await kernel.infer(request)
            taken.append((time.perf_counter() - began) / REQUESTS)
    return {
        name: statistics.mean(sorted(taken)[: max(rounds // 10, 1)]) * 1e6 for name, taken in seconds.items()
    }


async def main() -> None:
    models = [
        ModelSettings(name=name, implementation=EchoModel, **fields) for name, fields in VARIANTS.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        for title, shape in SHAPES.items():
            settings = {"drift_dir": f"{folder}/{title}"}
            async with Kernel(
                settings, models=models, plugins=[mlsrv_drift.plugin], discover=False
            ) as kernel:
                await kernel.loaded()
                values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
                found = await measure(kernel, values, ROUNDS if values.size < 1e5 else ROUNDS // 10)
                monitors = kernel.shared.get(Monitors, Monitors)
                dropped = {name: monitors.find(name, None).dropped for name in ("on", "cannot follow")}
            print(title)
            for name, taken in found.items():
                more = taken - found["off"]
                note = f", {dropped[name]} dropped" if name in dropped else ""
                print(f"  {name:14} {taken:8.1f} us  {more:+7.2f} us{note}")
            print(f"  limit: {LIMIT:.0f} us, {'kept' if found['on'] - found['off'] < LIMIT else 'not kept'}")


asyncio.run(main())
