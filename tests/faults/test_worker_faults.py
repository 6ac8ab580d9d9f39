"""Workers that are killed, hang or run out of memory while a kernel uses them."""

import asyncio
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlsrv.errors import Code, MLSrvError, ModelLoadError, ModelNotReady, Overloaded
from mlsrv.testing import tensor_request
from mlsrv_workers.pool.crashes import CRASHES
from mlsrv_workers.pool.supervisor import MAX_CONSECUTIVE_FAILURES

pytestmark = pytest.mark.timeout(60)


async def test_one_of_two_workers_is_killed(faults: Any, eventually: Any) -> None:
    async with faults() as it:
        first, second = it.start(30.0), it.start(3.0)
        await asyncio.sleep(0.5)
        victim = it.pids[0]
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(MLSrvError, match=r"ended unexpectedly \(signal 9, SIGKILL\)") as caught:
            await first
        assert time.monotonic() - began < 10.0
        assert caught.value.code is Code.INTERNAL
        assert it.kernel.ready  # the other worker answers
        answers = await asyncio.gather(*(it.ask() for _ in range(50)))
        assert victim not in {pid for pid, _ in answers}
        assert (await second)[0] != victim
        await eventually(lambda: len(it.pids) == 2)
        assert victim not in it.pids


async def test_all_workers_are_killed_at_once(faults: Any, eventually: Any) -> None:
    async with faults() as it:
        running = [it.start(30.0) for _ in range(4)]
        await asyncio.sleep(0.5)
        victims = it.pids
        began = time.monotonic()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        results = await asyncio.wait_for(asyncio.gather(*running, return_exceptions=True), 20)
        assert time.monotonic() - began < 10.0
        assert {type(result).__name__ for result in results} == {"WorkerEnded"}
        await eventually(lambda: not it.pids or it.kernel.ready)
        # What comes while nobody is there waits for the next worker.
        answers = await asyncio.wait_for(asyncio.gather(*(it.ask() for _ in range(10))), 20)
        assert not {pid for pid, _ in answers} & set(victims)
        await eventually(lambda: it.kernel.ready and len(it.pids) == 2)
        assert not set(it.pids) & set(victims)


async def test_readiness_tells_the_truth_meanwhile(faults: Any, eventually: Any) -> None:
    async with faults(parallel_workers=1) as it:
        os.kill(it.pids[0], signal.SIGKILL)
        await eventually(lambda: not it.kernel.ready, 5)
        assert not it.kernel.model_ready("model")
        assert "no worker of the pool default serves it now" in it.kernel.problems()[0]
        await eventually(lambda: it.kernel.ready)
        assert len(await it.ask()) == 2


async def test_a_worker_is_killed_again_and_again(faults: Any, eventually: Any) -> None:
    async with faults(parallel_workers=1) as it:
        for _ in range(3):
            pid = it.pids[0]
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda pid=pid: it.pids not in ([], [pid]) and it.kernel.ready)
        assert (await it.ask())[0] == it.pids[0]


async def test_workers_that_keep_ending_are_replaced_ever_more_slowly(
    faults: Any, eventually: Any, own_workers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with faults(parallel_workers=1) as it:
        victims: set[int] = set()

        def struck() -> bool:
            children = own_workers() - victims
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            victims.update(children)
            return "keep ending" in " ".join(it.kernel.problems())

        await eventually(struck, 40)
        assert len(victims) == MAX_CONSECUTIVE_FAILURES
        said = [found for line in caplog.messages if (found := re.search(r"is replaced in (.+) s", line))]
        pauses = [float(found[1]) for found in said]
        assert len(pauses) == MAX_CONSECUTIVE_FAILURES - 1
        assert pauses == sorted(pauses)
        assert pauses[-1] > 3
        began = time.monotonic()
        with pytest.raises(ModelNotReady, match="The workers of the pool default keep ending"):
            await it.ask()
        assert time.monotonic() - began < 10.0
        await eventually(lambda: it.kernel.ready, 30)
        assert await it.ask() == [it.pids[0], 0]


async def test_a_load_that_ends_its_process(faults: Any, troubled: Any, tmp_path: Path) -> None:
    deadly = tmp_path / "deadly"
    deadly.touch()
    async with faults(troubled(), troubled("poison", deadly=deadly)) as it:
        reason = it.kernel.handle("poison").reason
        assert "cannot be loaded: The worker process ended unexpectedly (exit code 7)" in reason
        assert not it.kernel.ready
        assert len(await it.ask()) == 2
        with pytest.raises(ModelNotReady):
            await it.ask(model="poison")
        deadly.unlink()
        await it.kernel.load("poison")
        assert it.kernel.ready
        assert len(await it.ask(model="poison")) == 2


async def test_a_load_again_that_ends_its_process(
    faults: Any, troubled: Any, tmp_path: Path, eventually: Any
) -> None:
    deadly = tmp_path / "deadly"
    async with faults(troubled(), troubled("poison", deadly=deadly), parallel_workers=1) as it:
        assert it.kernel.ready
        deadly.touch()
        os.kill(it.pids[0], signal.SIGKILL)
        await eventually(lambda: not it.kernel.ready)
        waiting = it.start(0.0, "poison")
        with pytest.raises(ModelNotReady, match="3 workers in a row ended while they loaded it again"):
            await asyncio.wait_for(waiting, 20)
        await eventually(lambda: it.kernel.model_ready("model"))
        assert len(await it.ask()) == 2
        assert [problem for problem in it.kernel.problems() if "poison" in problem]
        deadly.unlink()
        await it.kernel.load("poison")
        await eventually(lambda: it.kernel.ready)
        assert len(await it.ask(model="poison")) == 2


async def test_a_worker_is_killed_while_it_loads(faults: Any, troubled: Any, eventually: Any) -> None:
    async with faults(troubled(), troubled("late"), load_models_at_startup=False) as it:
        await it.kernel.load("model")
        loading = asyncio.create_task(it.kernel.load("late"))
        await asyncio.sleep(0)
        os.kill(it.pids[0], signal.SIGKILL)
        await loading  # tried again, with whoever lives
        await eventually(lambda: len(it.pids) == 2 and it.kernel.ready)
        assert len(await it.ask(model="late")) == 2


async def test_a_corrupt_artifact_on_reload(
    faults: Any, troubled: Any, tmp_path: Path, eventually: Any
) -> None:
    artifact = tmp_path / "artifact"
    artifact.write_text("1")
    async with faults(troubled(artifact=artifact)) as it:
        assert (await it.ask())[1] == 1
        artifact.write_text("broken")
        with pytest.raises(ModelLoadError, match="ValueError"):
            await it.kernel.load("model")
        assert (await it.ask())[1] == 1
        assert it.kernel.ready
        # A worker that is replaced now cannot load it; the other one goes on.
        victim, survivor = it.pids
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: len(it.pids) == 2 and victim not in it.pids)
        assert {(await it.ask())[0] for _ in range(10)} == {survivor}
        assert it.kernel.ready
        artifact.write_text("2")
        await it.kernel.load("model")
        assert {(await it.ask())[1] for _ in range(5)} == {2}


async def test_a_worker_out_of_memory(faults: Any) -> None:
    async with faults(parallel_workers=1) as it:
        pid = it.pids[0]
        with pytest.raises(MLSrvError, match="MemoryError"):
            await it.ask(-2.0)
        assert await it.ask() == [pid, 0]


async def test_a_worker_that_holds_its_interpreter_is_stopped_all_the_same(faults: Any) -> None:
    async with faults(parallel_workers=1, parallel_workers_timeout=0.2, shutdown_timeout=0.2) as it:
        stuck = it.start(-1.0)
        await asyncio.sleep(0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    with pytest.raises(MLSrvError):
        await stuck


async def test_a_process_that_inherited_the_connection_hides_no_death(
    faults: Any, troubled: Any, eventually: Any
) -> None:
    async with faults(troubled(child="short"), parallel_workers=1) as it:
        pid = it.pids[0]
        running = it.start(30.0)
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(MLSrvError, match="SIGKILL"):
            await asyncio.wait_for(running, 2)
        await eventually(lambda: it.pids not in ([], [pid]) and it.kernel.ready)


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_what_a_model_has_started_ends_with_its_worker(
    faults: Any, troubled: Any, eventually: Any, how: str
) -> None:
    async with faults(troubled(child="long"), parallel_workers=1) as it:
        [worker] = it.pids
        children = psutil.Process(worker).children()
        assert children
        if how == "killed":
            os.kill(worker, signal.SIGKILL)
            await eventually(lambda: not any(map(_lives, children)))
    await eventually(lambda: not any(map(_lives, children)))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_stream_ends_with_its_worker(faults: Any) -> None:
    async with faults(parallel_workers=1) as it:
        responses = it.kernel.stream(tensor_request("model", [0.001]))
        await anext(responses)
        os.kill(it.pids[0], signal.SIGKILL)
        with pytest.raises(MLSrvError, match="SIGKILL"):
            await asyncio.wait_for(exhaust(responses), 5)


async def exhaust(responses: Any) -> None:
    async for _ in responses:
        pass


async def test_a_full_queue_answers_at_once(faults: Any) -> None:
    async with faults(max_in_flight=3) as it:
        running = [it.start(30.0) for _ in range(3)]
        await asyncio.sleep(0)
        began = time.monotonic()
        with pytest.raises(Overloaded):
            await it.ask()
        assert time.monotonic() - began < 10.0
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert len(await it.ask()) == 2


async def test_load_and_unload_under_fire(faults: Any, troubled: Any, eventually: Any) -> None:
    async with faults(troubled(), troubled("guest")) as it:
        end = time.monotonic() + 2.0
        outcomes: list[BaseException | list[int]] = []

        async def client() -> None:
            while time.monotonic() < end:
                outcomes.extend(await asyncio.gather(it.ask(), return_exceptions=True))

        async def guest() -> None:
            while time.monotonic() < end:
                await it.kernel.unload("guest")
                await asyncio.gather(it.kernel.load("guest"), return_exceptions=True)

        async def killer() -> None:
            # One crash more, and the model counts as its cause and is moved into a process of its own.
            for _ in range(CRASHES - 1):
                await asyncio.sleep(0.6)
                if it.pids:
                    os.kill(it.pids[0], signal.SIGKILL)

        await asyncio.wait_for(asyncio.gather(*(client() for _ in range(8)), guest(), killer()), 30)
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert {type(error).__name__ for error in failed} <= {"WorkerEnded"}
        assert len(failed) <= 4 * 8
        assert len(outcomes) > 100
        await it.kernel.load("guest")
        await eventually(lambda: it.kernel.ready and len(it.pids) == 2)
