"""Workers that make no progress or keep ending, and the requests to other models meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlsrv.context import CallContext
from mlsrv.errors import Code, DeadlineExceeded, MLSrvError, ModelNotReady
from mlsrv.kernel import Kernel
from mlsrv.settings import ModelSettings
from mlsrv.testing import text_request

pytestmark = pytest.mark.timeout(60)

SOURCE = Path(__file__).parent / "model" / "model-settings.json"


def model(cls: str, **fields: Any) -> ModelSettings:
    return ModelSettings(cls.lower(), f"models.{cls}", source=SOURCE, **fields)


async def ask(kernel: Kernel, name: str, text: str = "", timeout: float | None = None) -> int:
    """Return the process id of the worker that answered."""
    context = CallContext() if timeout is None else CallContext.with_timeout(timeout)
    response = await kernel.infer(text_request(name, [text]), context)
    return int(response.outputs[0].data[0])


async def leave_behind(kernel: Kernel, count: int, text: str) -> None:
    """Send requests to `Evil` whose clients leave at once."""
    running = [asyncio.create_task(ask(kernel, "evil", text)) for _ in range(count)]
    await asyncio.sleep(0.5)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_hanging_requests_whose_clients_left_cost_workers_but_no_other_model(
    faults: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with faults(model("Evil"), model("Sync"), worker_abandoned_timeout=0.3) as it:
        before = set(it.pids)
        await leave_behind(it.kernel, 4, "hang:600")
        answers = await asyncio.wait_for(asyncio.gather(*(ask(it.kernel, "sync") for _ in range(8))), 15)
        assert not before & set(answers)
        assert any("requests that were given up took all its slots" in line for line in caplog.messages)


async def test_hanging_requests_are_given_up_at_their_deadline_too(faults: Any) -> None:
    async with faults(model("Evil"), model("Sync"), parallel_workers=1, worker_abandoned_timeout=None) as it:
        (before,) = it.pids
        running = [asyncio.create_task(ask(it.kernel, "evil", "hang:600", 0.2)) for _ in range(2)]
        results = await asyncio.gather(*running, return_exceptions=True)
        assert {type(result) for result in results} == {DeadlineExceeded}
        assert await asyncio.wait_for(ask(it.kernel, "sync"), 15) != before


async def test_a_worker_keeps_a_hanging_request_while_it_has_slots_for_others(faults: Any) -> None:
    async with faults(model("Evil"), model("Sync"), parallel_workers=1, worker_abandoned_timeout=0.1) as it:
        before = it.pids
        await leave_behind(it.kernel, 1, "hang:600")
        await asyncio.sleep(0.3)
        assert [await ask(it.kernel, "sync")] == before == it.pids


async def test_a_worker_whose_event_loop_is_blocked_gets_no_more_requests_and_is_replaced(
    faults: Any, eventually: Callable[..., Any]
) -> None:
    async with faults(model("Blocking"), model("Sync"), worker_heartbeat=8.0) as it:
        blocked = asyncio.create_task(ask(it.kernel, "blocking", "600"))
        pool = it.kernel._executors["workers"]._running()[0]
        await eventually(lambda: pool.counts["stuck"] == 1, 5)
        began = time.monotonic()
        answers = await asyncio.gather(*(ask(it.kernel, "sync") for _ in range(8)))
        assert len(set(answers)) == 1
        assert time.monotonic() - began < 5.0
        with pytest.raises(MLSrvError, match="its event loop did not answer") as caught:
            await asyncio.wait_for(blocked, 25)
        assert caught.value.code is Code.OVERLOADED  # the client may try again
        await eventually(lambda: pool.counts == {"alive": 2, "stuck": 0, "missing": 0})


async def test_a_worker_that_answers_again_gets_requests_again(
    faults: Any, eventually: Callable[..., Any]
) -> None:
    async with faults(model("Blocking"), model("Sync"), parallel_workers=1, worker_heartbeat=8.0) as it:
        before = it.pids
        blocked = asyncio.create_task(ask(it.kernel, "blocking", "2.2"))
        pool = it.kernel._executors["workers"]._running()[0]
        await eventually(lambda: pool.counts["stuck"] == 1, 5)
        assert it.kernel.ready  # for a short time only
        assert [await ask(it.kernel, "sync")] == [await blocked] == before


async def test_a_worker_that_a_signal_stopped_is_replaced(
    faults: Any, eventually: Callable[..., Any]
) -> None:
    async with faults(model("Sync"), parallel_workers=1, worker_heartbeat=1.0) as it:
        (victim,) = it.pids
        os.kill(victim, signal.SIGSTOP)
        results = await asyncio.wait_for(
            asyncio.gather(*(ask(it.kernel, "sync") for _ in range(4)), return_exceptions=True), 15
        )
        # Two were in the worker, two waited.
        assert sorted(type(result).__name__ for result in results) == ["WorkerReplaced"] * 2 + ["int"] * 2
        await eventually(lambda: it.kernel.ready and it.pids != [victim])


async def test_readiness_shows_a_worker_that_does_not_answer(
    faults: Any, eventually: Callable[..., Any]
) -> None:
    async with faults(model("Sync"), parallel_workers=1, worker_heartbeat=1.5) as it:
        os.kill(it.pids[0], signal.SIGSTOP)
        await eventually(lambda: not it.kernel.ready, 5)
        await eventually(lambda: it.kernel.ready, 20)


async def test_a_reload_replaces_workers_with_requests_that_were_given_up(faults: Any) -> None:
    async with faults(model("Evil"), model("Sync"), parallel_workers=1, worker_abandoned_timeout=0.1) as it:
        before = it.pids
        await leave_behind(it.kernel, 1, "hang:600")
        await asyncio.sleep(0.3)
        await it.kernel.load("sync")
        assert [await ask(it.kernel, "sync")] != before


async def test_a_model_that_crashes_its_workers_is_isolated_and_others_go_on(
    faults: Any, eventually: Callable[..., Any]
) -> None:
    async with faults(model("Evil"), model("Sync")) as it:
        outcomes: list[Any] = []
        end = time.monotonic() + 6

        async def attack() -> None:
            await asyncio.sleep(0.3)
            while time.monotonic() < end:
                with pytest.raises(MLSrvError):
                    await ask(it.kernel, "evil", "exit:3")
                await asyncio.sleep(1)

        async def client() -> None:
            while time.monotonic() < end:
                outcomes.extend(
                    await asyncio.gather(asyncio.wait_for(ask(it.kernel, "sync"), 20), return_exceptions=True)
                )
                await asyncio.sleep(0.1)

        await asyncio.gather(attack(), client(), client())
        failed = [outcome for outcome in outcomes if not isinstance(outcome, int)]
        assert len(failed) <= 0.05 * len(outcomes), failed
        await eventually(lambda: it.kernel.model_ready("evil"))
        await eventually(lambda: len(set(it.pids)) == 3)  # its last victim may still be replaced
        assert await ask(it.kernel, "evil") not in {await ask(it.kernel, "sync") for _ in range(6)}
        with pytest.raises(MLSrvError, match="exit code 3"):
            await ask(it.kernel, "evil", "exit:3")
        with pytest.raises(ModelNotReady, match="exit code 3"):
            await ask(it.kernel, "evil")
        assert "exit code 3" in str(it.kernel.problems())
        await ask(it.kernel, "sync")


async def test_a_worker_is_replaced_after_so_many_requests_without_a_gap(
    faults: Any, eventually: Callable[..., Any]
) -> None:
    async with faults(model("Sync"), parallel_workers=1, worker_max_requests=10) as it:
        before = it.pids[0]
        seen = []

        def replaced() -> bool:
            return bool(seen and seen[-1] != before)

        end = time.monotonic() + 20
        while not replaced():
            began = time.monotonic()
            seen.append(await ask(it.kernel, "sync"))
            assert time.monotonic() - began < 5.0
            assert time.monotonic() < end
        assert len(seen) > 10
        await eventually(lambda: len(it.pids) == 1)


async def test_a_worker_that_takes_too_much_memory_is_replaced(
    faults: Any, eventually: Callable[..., Any]
) -> None:
    async with faults(model("Sync"), parallel_workers=1, worker_max_memory_bytes=1 << 20) as it:
        before = it.pids
        await asyncio.sleep(0)
        await ask(it.kernel, "sync")
        await eventually(lambda: it.pids != before and len(it.pids) == 1)
        await ask(it.kernel, "sync")
