"""Batches that run in workers, and members of them that come to harm."""

import asyncio
import os
import signal
from typing import Any

import numpy as np
import pytest

from mlsrv.context import CallContext
from mlsrv.errors import DeadlineExceeded, MLSrvError
from mlsrv.testing import tensor_request
from mlsrv_batching.batcher import Batcher

pytestmark = pytest.mark.timeout(60)

BATCHED = {"max_batch_size": 8, "max_batch_time": 5.0}


def ask(it: Any, *numbers: float, context: CallContext | None = None) -> "asyncio.Task[list[float]]":
    """One request with a row for each number; its answer is the same numbers."""

    async def answer() -> list[float]:
        request = tensor_request("held", np.array(numbers).reshape(-1, 1))
        response = await it.kernel.infer(request, context)
        return [float(value) for value in response.outputs[0].data]

    return asyncio.create_task(answer())


def batcher(it: Any) -> Any:
    interceptors = it.kernel.handle("held").instance.interceptors
    return next(one for one in interceptors if isinstance(one, Batcher))


async def test_a_member_that_is_cancelled_leaves_the_others(faults: Any, held: Any, eventually: Any) -> None:
    async with faults(held(**BATCHED), parallel_workers=1) as it:
        first = ask(it, 0.5)
        await asyncio.sleep(0.05)
        members = [ask(it, number / 100, number / 100) for number in range(3)]
        await asyncio.sleep(0.05)
        members[1].cancel()
        assert await first == [0.5]
        assert await members[0] == [0.0, 0.0]
        assert await members[2] == [0.02, 0.02]
        assert batcher(it).decisions[-1]["requests"] == 2
        # And while it runs: the batch goes on for the one that is left.
        first = ask(it, 0.1)
        await asyncio.sleep(0.02)
        running = [ask(it, 0.5), ask(it, 0.4)]
        await first
        await eventually(lambda: batcher(it).explain()["running"])
        running[0].cancel()
        assert await running[1] == [0.4]
        await eventually(lambda: not batcher(it).explain()["running"])


async def test_a_batch_that_nobody_waits_for_is_cancelled(faults: Any, held: Any, eventually: Any) -> None:
    async with faults(held(**BATCHED), parallel_workers=1) as it:
        first = ask(it, 0.2)
        await asyncio.sleep(0.05)
        members = [ask(it, 60.0), ask(it, 59.0)]
        await first
        await eventually(lambda: batcher(it).explain()["running"])
        for member in members:
            member.cancel()
        await eventually(lambda: not batcher(it).explain()["running"])
        assert await asyncio.wait_for(ask(it, 0.0), 5) == [0.0]


async def test_a_deadline_of_a_member_is_its_own(faults: Any, held: Any) -> None:
    async with faults(held(**BATCHED), parallel_workers=1) as it:
        first = ask(it, 0.3)
        await asyncio.sleep(0.05)
        patient, hasty = ask(it, 0.5), ask(it, 0.1, context=CallContext.with_timeout(0.4))
        assert await first == [0.3]
        with pytest.raises(DeadlineExceeded):
            await hasty
        assert await patient == [0.5]


async def test_a_worker_that_dies_fails_its_batch_alone(faults: Any, held: Any, eventually: Any) -> None:
    async with faults(held(**BATCHED), parallel_workers=1) as it:
        first = ask(it, 30.0)
        await asyncio.sleep(0.1)
        waiting = [ask(it, 0.0, float(number) / 100) for number in range(3)]
        await asyncio.sleep(0.05)
        victim = it.pids[0]
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(MLSrvError, match="SIGKILL"):
            await asyncio.wait_for(first, 5)
        # Those that had not reached it wait for the next one.
        answers = await asyncio.wait_for(asyncio.gather(*waiting), 30)
        assert answers == [[0.0, 0.0], [0.0, 0.01], [0.0, 0.02]]
        await eventually(lambda: it.kernel.ready)
        running = [ask(it, 20.0), ask(it, 30.0), ask(it, 30.0)]
        await asyncio.sleep(0.1)
        os.kill(it.pids[0], signal.SIGKILL)
        results = await asyncio.wait_for(asyncio.gather(running[0], return_exceptions=True), 5)
        assert "SIGKILL" in str(results[0])
        for task in running[1:]:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert await asyncio.wait_for(ask(it, 0.0), 30) == [0.0]
