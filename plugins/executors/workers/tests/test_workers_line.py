"""The line of requests that wait for a worker."""

import asyncio
from typing import Any, cast

import pytest

from mlsrv.context import CallContext
from mlsrv.errors import ModelNotReady
from mlsrv_workers.pool.wait_queue import Line, Waiting
from mlsrv_workers.pool.worker_process import WorkerProcess

WORKER = cast(WorkerProcess, object())


def served(line: Line, count: int, models: Any = (1,)) -> None:
    left = [count]

    def take(model: int) -> WorkerProcess | None:
        if model not in models:
            return None
        left[0] -= 1
        return WORKER

    line.serve(lambda: left[0] > 0, take)


def join(line: Line, priority: int = 0, model: int = 1) -> Waiting:
    return line.join(model, CallContext(priority=priority))


async def test_priority_then_arrival() -> None:
    line = Line()
    none, low, first, high = join(line), join(line, 9), join(line, 1), join(line, 1)
    order = []
    for _ in range(4):
        served(line, 1)
        order += [w for w in (none, low, first, high) if w.granted.done() and w not in order]
    assert order == [first, high, low, none]
    assert line.length == 0


async def test_a_model_without_workers_holds_nobody_up() -> None:
    line = Line()
    stuck, other = join(line, model=2), join(line, model=1)
    served(line, 5)
    assert not stuck.granted.done()
    assert other.granted.result() is WORKER
    assert line.length == 1
    served(line, 1, models=(2,))
    assert stuck.granted.done()


async def test_those_who_leave_take_no_place() -> None:
    line = Line()
    waiting = [join(line) for _ in range(1000)]
    for one in waiting[:-1]:
        one.granted.cancel()
        line.leave(one)
    assert line.length == 1
    assert len(line._heap) < 10
    served(line, 1)
    assert waiting[-1].granted.result() is WORKER
    assert line.length == 0


async def test_refusal() -> None:
    line = Line()
    one, other, gone = join(line), join(line, model=2), join(line)
    gone.granted.cancel()
    line.leave(gone)
    line.refuse(lambda: ModelNotReady("no more"), 1)
    with pytest.raises(ModelNotReady, match="no more"):
        await one.granted
    assert line.length == 1
    line.refuse(lambda: ModelNotReady("the end"))
    with pytest.raises(ModelNotReady, match="the end"):
        await asyncio.wait_for(other.granted, 1)
    assert line.length == 0


@pytest.mark.parametrize("meanwhile", ["refused", "served"])
async def test_one_who_is_found_cancelled_before_it_leaves_counts_once(meanwhile: str) -> None:
    line = Line()
    cancelled = join(line)
    others = [join(line, model=3) for _ in range(5)]
    cancelled.granted.cancel()
    if meanwhile == "refused":
        line.refuse(lambda: ModelNotReady("no"), 2)
    else:
        served(line, 1)
    line.leave(cancelled)
    assert line.length == 5
    served(line, 5, models=(3,))
    assert all(waiting.granted.result() is WORKER for waiting in others)
    assert line.length == 0
