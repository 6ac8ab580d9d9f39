"""The queue of requests that wait for a worker."""

import asyncio
from typing import Any, cast

import pytest

from mlsrv.context import CallContext
from mlsrv.errors import ModelNotReady
from mlsrv_workers.pool.wait_queue import QueuedRequest, WaitQueue
from mlsrv_workers.pool.worker_process import WorkerProcess

WORKER = cast(WorkerProcess, object())


def serve(queue: WaitQueue, count: int, models: Any = (1,)) -> None:
    left = [count]

    def take(model: int) -> WorkerProcess | None:
        if model not in models:
            return None
        left[0] -= 1
        return WORKER

    queue.serve(lambda: left[0] > 0, take)


def add(queue: WaitQueue, priority: int = 0, model: int = 1) -> QueuedRequest:
    return queue.add(model, CallContext(priority=priority))


async def test_requests_are_served_by_priority_then_arrival() -> None:
    queue = WaitQueue()
    none, low, first, high = add(queue), add(queue, 9), add(queue, 1), add(queue, 1)
    order = []
    for _ in range(4):
        serve(queue, 1)
        order += [w for w in (none, low, first, high) if w.granted.done() and w not in order]
    assert order == [first, high, low, none]
    assert queue.length == 0


async def test_a_model_without_workers_does_not_block_other_models() -> None:
    queue = WaitQueue()
    stuck, other = add(queue, model=2), add(queue, model=1)
    serve(queue, 5)
    assert not stuck.granted.done()
    assert other.granted.result() is WORKER
    assert queue.length == 1
    serve(queue, 1, models=(2,))
    assert stuck.granted.done()


async def test_cancelled_requests_are_removed_from_the_heap() -> None:
    queue = WaitQueue()
    requests = [add(queue) for _ in range(1000)]
    for one in requests[:-1]:
        one.granted.cancel()
        queue.remove(one)
    assert queue.length == 1
    assert len(queue._heap) < 10
    serve(queue, 1)
    assert requests[-1].granted.result() is WORKER
    assert queue.length == 0


async def test_refuse_fails_the_requests_of_one_model_or_of_all() -> None:
    queue = WaitQueue()
    one, other, gone = add(queue), add(queue, model=2), add(queue)
    gone.granted.cancel()
    queue.remove(gone)
    queue.refuse(lambda: ModelNotReady("no more"), 1)
    with pytest.raises(ModelNotReady, match="no more"):
        await one.granted
    assert queue.length == 1
    queue.refuse(lambda: ModelNotReady("the end"))
    with pytest.raises(ModelNotReady, match="the end"):
        await asyncio.wait_for(other.granted, 1)
    assert queue.length == 0


@pytest.mark.parametrize("meanwhile", ["refused", "served"])
async def test_a_request_found_cancelled_before_it_is_removed_is_counted_once(meanwhile: str) -> None:
    queue = WaitQueue()
    cancelled = add(queue)
    others = [add(queue, model=3) for _ in range(5)]
    cancelled.granted.cancel()
    if meanwhile == "refused":
        queue.refuse(lambda: ModelNotReady("no"), 2)
    else:
        serve(queue, 1)
    queue.remove(cancelled)
    assert queue.length == 5
    serve(queue, 5, models=(3,))
    assert all(request.granted.result() is WORKER for request in others)
    assert queue.length == 0
