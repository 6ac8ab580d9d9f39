"""The event loop goes on while messages with very many values come and go, whatever their form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from attrs import define
from probing_models import MANY, Echo

from mlsrv import ModelSettings
from mlsrv.types import InferenceRequest, RequestInput
from served import served

pytestmark = pytest.mark.timeout(240)

TENSORS = 10_000
MOST = 0.5
"""CPU seconds that the thread of the loop may work without a pause; what it waits for does not count."""


@define
class Watch:
    """Measures how long the loop works at most between two of its turns."""

    longest: float = 0.0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()

    async def _watch(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - before)
            await asyncio.sleep(0.002)
            before = time.thread_time()


def request(*inputs: RequestInput) -> InferenceRequest:
    return InferenceRequest(model_name="echo", inputs=list(inputs))


REQUESTS = {
    "texts": request(RequestInput(name="x", shape=[MANY], datatype="BYTES", data=["ab"] * MANY)),
    "numbers": request(RequestInput(name="x", shape=[MANY], datatype="FP64", data=np.full(MANY, 1.5))),
    "tensors": request(
        *(RequestInput(name=str(index), shape=[1], datatype="BYTES", data=["a"]) for index in range(TENSORS))
    ),
}


@pytest.mark.parametrize(("workers", "wire"), [(0, "json"), (1, "json"), (1, "grpc")])
async def test_requests_and_answers_with_very_many_values(workers: int, wire: str) -> None:
    async with served([ModelSettings("echo", Echo)], parallel_workers=workers) as it:
        for name, asked in REQUESTS.items():
            watch = Watch()
            async with watch.watching():
                response = await it.infer(wire, asked)
            assert len(response.outputs) == len(asked.inputs)
            assert watch.longest < MOST, (name, watch.longest)


@pytest.mark.parametrize("workers", [0, 1])
async def test_results_of_handlers(workers: int) -> None:
    async with served([ModelSettings("echo", Echo)], parallel_workers=workers) as it:
        watch = Watch()
        async with watch.watching():
            answer = await asyncio.to_thread(
                httpx.post, f"{it.rest}/v2/models/echo/texts", content=b"", timeout=60
            )
        assert len(answer.json()) == MANY
        assert watch.longest < MOST


def hostile(**fields: Any) -> bytes:
    tensor = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}
    return orjson.dumps({"inputs": [tensor | fields.pop("tensor", {})], **fields})


BODIES = {
    "a shape": (hostile(tensor={"shape": [1] * (4 * MANY)}), 400),
    "a parameter": (hostile(parameters={"a": ["ab"] * (3 * MANY)}), 400),
    "an unknown key": (hostile(zz=["ab"] * (3 * MANY)), 200),
    "requested outputs": (hostile(outputs=[{"name": str(index)} for index in range(60_000)]), 400),
    "texts as numbers": (hostile(tensor={"shape": [MANY], "data": ["ab"] * MANY}), 400),
    "bare words": (hostile(tensor={"shape": [MANY], "data": [1.5] * MANY}).replace(b"1.5", b"NaN", 1), 200),
    "too many texts": (hostile(zz=[""] * (5 * MANY)), 400),
}


@pytest.mark.parametrize("name", BODIES)
async def test_hostile_bodies(name: str) -> None:
    body, status = BODIES[name]
    async with served([ModelSettings("echo", Echo)], parallel_workers=0) as it:
        watch = Watch()
        async with watch.watching():
            answer = await asyncio.to_thread(
                httpx.post, f"{it.rest}/v2/models/echo/infer", content=body, timeout=60
            )
        assert answer.status_code == status, answer.text[:200]
        assert watch.longest < MOST
