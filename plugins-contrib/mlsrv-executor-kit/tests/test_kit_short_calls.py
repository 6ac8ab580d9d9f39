"""Short calls: synchronous code moves to the event loop once its calls are short, and back."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlsrv.context import CallContext
from mlsrv.errors import RequestCancelled
from mlsrv.hosting.user_call import UserCode, UserCodeCall, predict_as_async
from mlsrv.metrics import ModelMetrics, discard
from mlsrv.threads import Threads
from mlsrv_executor_kit import short_calls
from mlsrv_executor_kit.short_calls import (
    CALLS,
    FORGET,
    LONG_NS,
    MOST_CALLS,
    MOST_LONG,
    SHORT_NS,
    USUAL_NS,
    CallCost,
    ShortCalls,
)


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(1, "test")
    yield made
    made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the number of calls counts: the machine of a test may be slow."""
    for name in ("SHORT_NS", "USUAL_NS", "LONG_NS"):
        monkeypatch.setattr(short_calls, name, 10**12)


def short(cost: CallCost, calls: int = CALLS) -> None:
    for _ in range(calls):
        cost.add(USUAL_NS // 4, SHORT_NS // 4)


async def on_loop(function: Callable[[Any], Any], threads: Threads, argument: Any = None) -> Any:
    """Return what a function does once it runs on the event loop."""
    learning = [True] * CALLS

    def call(value: Any) -> Any:
        return learning.pop() if learning else function(value)

    made = predict_as_async(call, threads, "m", ShortCalls())
    for _ in range(CALLS):
        assert await made(argument) is True
    return await made(argument)


def test_it_takes_some_short_calls() -> None:
    cost = CallCost("m")
    short(cost, CALLS - 1)
    assert not cost.is_short
    short(cost, 1)
    assert cost.is_short


@pytest.mark.parametrize(("lasted", "busy"), [(2 * USUAL_NS, 0), (USUAL_NS // 2, 2 * SHORT_NS)])
def test_calls_that_wait_or_compute_for_long_stay_in_threads(lasted: int, busy: int) -> None:
    cost = CallCost("m")
    for _ in range(4 * CALLS):
        cost.add(lasted, busy)
    assert not cost.is_short


def test_some_calls_may_have_waited_for_the_processor() -> None:
    cost = CallCost("m")
    for index in range(CALLS):
        cost.add(50 * USUAL_NS if index % 3 == 0 else USUAL_NS // 4, SHORT_NS // 4)
    assert cost.is_short


def test_a_call_that_computes_for_long_ends_it_for_twice_as_many_calls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "mlsrv.model")
    cost = CallCost("m")
    short(cost)
    cost.add_on_loop(LONG_NS, LONG_NS)
    assert not cost.is_short
    short(cost, 2 * CALLS - 1)
    assert not cost.is_short
    short(cost, 1)
    assert cost.is_short
    assert [message.split(";")[0] for message in caplog.messages] == [
        "Model m: calls of predict take 0.25 ms",
        "Model m: calls of predict take up to 10.00 ms",
        "Model m: calls of predict take 0.25 ms",
    ]


def test_the_number_of_calls_has_a_limit() -> None:
    cost = CallCost("m")
    for _ in range(12):
        short(cost, MOST_CALLS)
        assert cost.is_short
        cost.add_on_loop(LONG_NS, LONG_NS)


def test_calls_may_end_in_several_threads_at_once() -> None:
    changes: list[bool] = []
    cost = CallCost("m", changes.append)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(short, cost, CALLS) for _ in range(200)]:
            done.result()
    assert changes == [True]


def test_a_few_calls_may_wait_but_not_many() -> None:
    cost = CallCost("m")
    short(cost)
    for _ in range(20):
        cost.add_on_loop(2 * LONG_NS, 0)
        for _ in range(FORGET):
            cost.add_on_loop(USUAL_NS // 4, SHORT_NS // 4)
        assert cost.is_short
    for _ in range(MOST_LONG):
        cost.add_on_loop(2 * LONG_NS, 0)
    assert not cost.is_short


def test_calls_may_wait_for_the_processor_as_often_as_they_must() -> None:
    cost = CallCost("m")
    short(cost)
    for _ in range(10 * MOST_LONG):
        cost.add_on_loop(4 * LONG_NS, SHORT_NS // 4, 4 * LONG_NS - SHORT_NS)
    assert cost.is_short


def test_calls_are_watched_from_one_that_waits_until_it_is_forgotten() -> None:
    cost = CallCost("m")
    short(cost)
    assert not cost.is_watched
    cost.add_on_loop(2 * LONG_NS, 0)
    assert cost.is_watched
    for _ in range(FORGET):
        cost.add_on_loop(USUAL_NS // 4, SHORT_NS // 4)
    assert not cost.is_watched


async def test_watched_calls_on_the_loop_are_measured_for_what_they_wait(
    threads: Threads, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = itertools.count(10**12, 10**12)  # the machine is busy
    monkeypatch.setattr(short_calls, "run_queue_ns", lambda: next(waited))
    made = predict_as_async(
        lambda seconds: time.sleep(seconds) or threading.get_ident(), threads, "m", ShortCalls()
    )
    for _ in range(CALLS):
        await made(0)
    short_calls.LONG_NS = LONG_NS
    for _ in range(4 * MOST_LONG):
        assert await made(0.02) == threading.get_ident()


def test_calls_that_become_slower_go_back_to_threads() -> None:
    cost = CallCost("m")
    short(cost)
    for _ in range(FORGET):
        cost.add_on_loop(3 * SHORT_NS, 3 * SHORT_NS)
    assert not cost.is_short


def test_short_calls_on_the_loop_go_on() -> None:
    cost = CallCost("m")
    short(cost)
    for _ in range(5 * CALLS):
        cost.add_on_loop(USUAL_NS // 4, SHORT_NS // 4)
    assert cost.is_short


async def test_short_calls_run_on_the_loop_and_long_ones_in_a_thread(threads: Threads, patient: None) -> None:
    made = predict_as_async(
        lambda seconds: time.sleep(seconds) or threading.get_ident(), threads, "m", ShortCalls()
    )
    for _ in range(CALLS):
        assert await made(0) != threading.get_ident()
    assert await made(0) == threading.get_ident()
    short_calls.LONG_NS = LONG_NS
    for _ in range(MOST_LONG):
        assert await made(0.05) == threading.get_ident()
    assert await made(0) != threading.get_ident()


async def test_without_it_every_call_runs_in_a_thread(threads: Threads, patient: None) -> None:
    made = predict_as_async(lambda _: threading.get_ident(), threads, "m", None)
    assert threading.get_ident() not in [await made(0) for _ in range(2 * CALLS)]


async def test_coroutine_functions_are_left_alone(threads: Threads) -> None:
    async def predict(_: Any) -> None: ...

    assert predict_as_async(predict, threads, "m", ShortCalls()) is predict


async def test_the_code_may_run_a_loop_of_its_own(threads: Threads, patient: None) -> None:
    async def inner() -> int:
        await asyncio.sleep(0)
        return 5

    assert await on_loop(lambda _: asyncio.run(inner()), threads) == 5
    assert asyncio.get_running_loop().is_running()
    await asyncio.sleep(0)


async def test_an_awaitable_is_awaited_on_the_loop(threads: Threads, patient: None) -> None:
    async def inner(value: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        return value, threading.get_ident()

    assert await on_loop(inner, threads, 7) == (7, threading.get_ident())


@pytest.mark.parametrize(
    ("raised", "found", "text"),
    [
        (KeyError("x"), KeyError, "x"),
        (SystemExit(3), RuntimeError, "SystemExit: 3"),
        (StopIteration(), RuntimeError, "StopIteration"),
        (KeyboardInterrupt(), RuntimeError, "KeyboardInterrupt"),
    ],
)
async def test_exceptions_are_the_same_as_in_a_thread(
    threads: Threads, patient: None, raised: BaseException, found: type[Exception], text: str
) -> None:
    def fail(_: Any) -> None:
        raise raised

    for run in (on_loop(fail, threads), predict_as_async(fail, threads, "m", ShortCalls())(None)):
        with pytest.raises(found, match=text):
            await run
    assert asyncio.get_running_loop().is_running()


async def test_a_gate_limits_the_calls_that_go_back_to_threads(patient: None) -> None:
    threads = Threads(8, "test")
    running, most, changes = [0], [0], []

    def predict(seconds: float) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(seconds)
        running[0] -= 1

    made = predict_as_async(predict, threads, "m", ShortCalls(asyncio.Semaphore(1), changes.append))
    for _ in range(CALLS):
        await made(0)
    assert changes == [True]
    short_calls.LONG_NS = LONG_NS
    await asyncio.gather(*(made(0.02) for _ in range(8)))
    assert changes == [True, False]
    assert most == [1]
    threads.close()


async def test_a_call_that_was_given_up_at_the_gate_does_not_run(threads: Threads, patient: None) -> None:
    gate = asyncio.Semaphore(1)
    made = predict_as_async(lambda _: None, threads, "m", ShortCalls(gate))
    context = CallContext("r1")
    async with gate:
        with UserCodeCall(UserCode("m", None, ModelMetrics("m", None, discard)), context):
            waiting = asyncio.create_task(made(None))
            await asyncio.sleep(0)
        context.cancel()
    with pytest.raises(RequestCancelled):
        await waiting
