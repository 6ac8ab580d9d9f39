"""Threads for code that blocks: context, errors, cancellation, and an exit without delay."""

import asyncio
import contextlib
import contextvars
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable

import pytest

from mlsrv_hosting_kit.threads import Threads, run_in_own_thread
from mlsrv_protocol.errors import RequestCancelled

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_runs_in_a_daemon_thread_with_the_callers_context() -> None:
    threads = Threads(2, "pool")
    variable.set("here")
    thread, value = await threads.run(lambda: (threading.current_thread(), variable.get()))
    threads.close()
    assert thread.daemon
    assert thread.name == "pool-1"
    assert value == "here"


async def test_a_thread_cannot_change_the_callers_context() -> None:
    threads = Threads(1, "pool")
    await threads.run(variable.set, "there")
    threads.close()
    assert variable.get() == "unset"


async def test_never_more_threads_than_its_size() -> None:
    threads = Threads(3, "pool")
    release = threading.Event()
    running = threading.Semaphore(0)

    def block() -> str:
        running.release()
        assert release.wait(10)
        return threading.current_thread().name

    calls = [asyncio.ensure_future(threads.run(block)) for _ in range(7)]
    for _ in range(3):
        assert await asyncio.to_thread(running.acquire, timeout=10)
    assert not running.acquire(blocking=False)
    release.set()
    names = await asyncio.gather(*calls)
    threads.close()
    assert set(names) == {"pool-1", "pool-2", "pool-3"}


async def test_a_call_does_not_wait_for_one_that_was_given_up_while_there_may_be_more_threads() -> None:
    threads, begun, release = Threads(2, "pool"), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(30)

    given_up = asyncio.create_task(threads.run(hang))
    await asyncio.to_thread(begun.wait)
    given_up.cancel()
    assert await asyncio.wait_for(threads.run(int), 10) == 0
    release.set()
    threads.close()


class Hanging:
    """Calls that hang until they are let go."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self.release = threading.Event()

    def hang(self, begun: threading.Event) -> None:
        begun.set()
        assert self.release.wait(60)

    async def give_up(self) -> None:
        """Begin a call that hangs, and give it up."""
        begun = threading.Event()
        call = asyncio.create_task(self.threads.run(self.hang, begun))
        assert await asyncio.to_thread(begun.wait, 20)
        call.cancel()
        await asyncio.wait({call})


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_thread_that_hangs_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    threads = Threads(1, "pool", spare=2, overdue_after=0.01)
    hanging = Hanging(threads)
    for _ in range(2):
        await hanging.give_up()
        assert await asyncio.wait_for(threads.run(int), 20) == 0
    assert not threads.stuck
    assert caplog.messages == ["A call was given up 0.01 s ago and still runs in a thread"] * 2
    await hanging.give_up()
    await until(lambda: threads.stuck)
    waiting = asyncio.create_task(threads.run(threading.current_thread))
    hanging.release.set()
    last = await asyncio.wait_for(waiting, 20)
    await until(lambda: not threads.stuck)
    await until(lambda: [one for one in threading.enumerate() if one.name.startswith("pool")] == [last])
    assert {await threads.run(threading.current_thread) for _ in range(5)} == {last}
    threads.close()


async def test_a_thread_without_a_replacement_is_waited_for() -> None:
    threads = Threads(1, "pool", overdue_after=0.01)
    hanging = Hanging(threads)
    await hanging.give_up()
    waiting = asyncio.create_task(threads.run(int))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    hanging.release.set()
    assert await asyncio.wait_for(waiting, 20) == 0
    threads.close()


async def test_never_more_threads_at_once_than_its_size_once_those_that_hung_have_ended() -> None:
    threads = Threads(2, "pool", spare=4, overdue_after=0.01)
    for _ in range(5):
        hanging = Hanging(threads)
        for _ in range(4):
            await hanging.give_up()
            await asyncio.wait_for(threads.run(int), 20)
        calls = [asyncio.create_task(threads.run(int)) for _ in range(20)]
        hanging.release.set()
        await asyncio.wait_for(asyncio.gather(*calls), 20)
        await until(lambda: sum(one.name.startswith("pool") for one in threading.enumerate()) <= 2)
    threads.close()


async def test_a_call_that_was_given_up_and_waits_for_a_thread_is_dropped() -> None:
    threads = Threads(1, "pool", spare=1, overdue_after=60)
    hanging = Hanging(threads)
    begun = threading.Event()
    first = asyncio.create_task(threads.run(hanging.hang, begun))
    assert await asyncio.to_thread(begun.wait, 20)
    ran = threading.Event()
    dropped = asyncio.create_task(threads.run(ran.set))
    await asyncio.sleep(0)
    dropped.cancel()
    hanging.release.set()
    await first
    assert await threads.run(int) == 0
    assert not ran.is_set()
    threads.close()


async def test_an_idle_thread_is_used_again() -> None:
    threads = Threads(5, "pool")
    names = {await threads.run(lambda: threading.current_thread().name) for _ in range(10)}
    threads.close()
    assert names == {"pool-1"}


@pytest.mark.parametrize("raised", [ValueError("no"), KeyError("x")])
async def test_an_exception_reaches_the_caller(raised: Exception) -> None:
    def fail() -> None:
        raise raised

    threads = Threads(1, "pool")
    with pytest.raises(type(raised)) as caught:
        await threads.run(fail)
    threads.close()
    assert caught.value is raised


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "CancelledError"),
        (StopIteration(7), "StopIteration: 7"),
    ],
)
async def test_exceptions_that_would_end_the_loop_are_runtime_errors(
    raised: BaseException, text: str
) -> None:
    def fail() -> None:
        raise raised

    threads = Threads(1, "pool")
    with pytest.raises(RuntimeError, match=f"^{text}$") as caught:
        await threads.run(fail)
    assert caught.value.__cause__ is raised
    assert await threads.run(lambda: "alive") == "alive"
    threads.close()


class Held:
    """An object whose end can be observed."""


@pytest.mark.parametrize(
    "error",
    [
        lambda: ValueError("no"),
        lambda: SystemExit(3),
        lambda: StopIteration(1),
        lambda: KeyboardInterrupt(),
        lambda: ExceptionGroup("several", [ValueError("one")]),
    ],
)
async def test_a_call_that_fails_leaves_nothing_behind(error: Callable[[], BaseException]) -> None:
    made: list[weakref.ref[Held]] = []

    def fail(argument: Held) -> None:
        held = Held()
        made.extend([weakref.ref(held), weakref.ref(argument)])
        raise error()

    threads = Threads(1, "pool")
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with contextlib.suppress(Exception):
                await threads.run(fail, Held())
        await threads.run(int)  # so that the thread is done with the call before
        assert len(made) == 6
        assert [reference() for reference in made] == [None] * 6
    finally:
        gc.enable()
        threads.close()


async def test_a_cancelled_call_that_has_not_begun_never_runs() -> None:
    threads = Threads(1, "pool")
    release, ran = threading.Event(), []
    first = asyncio.ensure_future(threads.run(release.wait, 10))
    second = asyncio.ensure_future(threads.run(ran.append, "second"))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    release.set()
    await first
    await threads.run(ran.append, "third")
    threads.close()
    assert ran == ["third"]


async def test_close_refuses_waiting_and_later_calls() -> None:
    threads = Threads(1, "pool")
    release, begun = threading.Event(), threading.Event()

    def block() -> str:
        begun.set()
        release.wait(10)
        return "done"

    running = asyncio.ensure_future(threads.run(block))
    queued = asyncio.ensure_future(threads.run(lambda: "never"))
    assert await asyncio.to_thread(begun.wait, 10)
    threads.close()
    threads.close()
    with pytest.raises(RequestCancelled, match="stopping"):
        await queued
    with pytest.raises(RequestCancelled, match="stopping"):
        await threads.run(lambda: "late")
    release.set()
    assert await running == "done"


async def test_closing_ends_the_threads() -> None:
    threads = Threads(1, "pool")
    thread = await threads.run(threading.current_thread)
    threads.close()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_an_own_thread_is_named_after_its_function_and_ends() -> None:
    def load() -> threading.Thread:
        return threading.current_thread()

    thread = await run_in_own_thread(load)
    assert thread.name == "mlsrv-load-1"
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


def test_a_thread_that_hangs_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, threading
from mlsrv_hosting_kit.threads import Threads

async def main():
    threads = Threads(1, "pool")
    begun = threading.Event()
    def hang():
        begun.set()
        threading.Event().wait()
    task = asyncio.ensure_future(threads.run(hang))
    await asyncio.sleep(0)
    assert begun.wait(10)
    threads.close()
    task.cancel()

asyncio.run(main())
print("left")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "left", "")


class _Unspeakable(BaseException):
    """What no text can be had of; asking for it would end a thread."""

    def __str__(self) -> str:
        raise SystemExit(3)


async def test_an_exception_without_a_text_reaches_the_caller_and_the_thread_goes_on() -> None:
    threads = Threads(1, "pool")

    def fail() -> None:
        raise _Unspeakable

    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"_Unspeakable: its text cannot be had \(SystemExit\)"):
            await asyncio.wait_for(threads.run(fail), 10)
    assert await asyncio.wait_for(threads.run(lambda: 1), 10) == 1
    threads.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_child_that_comes_back_from_a_call_ends(fails: bool) -> None:
    threads = Threads(1, "pool")

    def fork() -> int:
        child = os.fork()
        if fails and not child:
            raise ValueError("in the child")
        return child

    child = await threads.run(fork)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    threads.close()
