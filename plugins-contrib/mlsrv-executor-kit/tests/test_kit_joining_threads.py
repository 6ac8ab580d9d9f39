"""Joining threads: cancelled calls wait for their function."""

import asyncio
import threading

import pytest

from mlsrv_executor_kit.joining_threads import JoiningThreads


async def test_results_and_errors_are_passed_on() -> None:
    threads = JoiningThreads(2, "test")
    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 1, 0)
    threads.close()


async def test_a_cancelled_call_ends_with_its_function() -> None:
    threads = JoiningThreads(1, "test")
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go.wait(20)

    task = asyncio.create_task(threads.run(work))
    await asyncio.to_thread(begun.wait, 20)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.1)
    assert not done
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)
    threads.close()


async def test_a_call_that_has_not_begun_ends_at_once() -> None:
    threads = JoiningThreads(1, "test")
    begun, go, ran = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        assert go.wait(20)

    busy = asyncio.create_task(threads.run(work))
    await asyncio.to_thread(begun.wait, 20)
    queued = asyncio.create_task(threads.run(ran.append, 1))
    await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(queued, 5)
    go.set()
    await busy
    assert await threads.run(len, ran) == 0
    threads.close()
