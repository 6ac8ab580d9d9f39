"""Active calls: clients that disconnect, draining and aborting."""

from __future__ import annotations

import asyncio
import time

import pytest

from mlsrv.context import CallContext
from mlsrv_rest.asgi import Message
from mlsrv_rest.calls import ActiveCalls


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_disconnect_cancels_the_call() -> None:
    calls, gone = ActiveCalls(), asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    call = calls.enter(receive)
    context = CallContext()
    call.guard(context)
    gone.set()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(20):
            await asyncio.Event().wait()
    call.task.uncancel()
    assert call.disconnected
    assert context.cancelled
    call.unguard()
    calls.leave(call)
    assert len(calls) == 0


async def test_short_calls_start_no_listener() -> None:
    async def receive() -> Message:
        raise AssertionError("no task should listen")

    calls = ActiveCalls()
    call = calls.enter(receive)
    call.guard(CallContext())
    await asyncio.sleep(0)
    call.unguard()
    calls.leave(call)
    await calls.drain(0)
    assert call.disconnect_listener is None


async def test_an_answer_ends_the_disconnect_listener() -> None:
    calls = ActiveCalls()
    call = calls.enter(never)
    call.guard(CallContext())
    async with asyncio.timeout(20):
        while call.disconnect_listener is None:
            await asyncio.sleep(0.005)
    call.unguard()
    await asyncio.wait({call.disconnect_listener})
    assert call.disconnect_listener.cancelled()
    calls.leave(call)


async def test_other_messages_cancel_nothing() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    calls = ActiveCalls()
    call = calls.enter(receive)
    call.guard(CallContext())
    async with asyncio.timeout(20):
        while call.disconnect_listener is None or not call.disconnect_listener.done():
            await asyncio.sleep(0.005)
    assert not call.disconnected
    call.unguard()
    calls.leave(call)


async def test_the_end_of_the_connection_cancels_the_call_without_a_task() -> None:
    calls = ActiveCalls()
    lost = asyncio.get_running_loop().create_future()
    call = calls.enter(never, lost)
    context = CallContext()
    call.guard(context)
    async with asyncio.timeout(20):
        while call.disconnect_listener is None:
            await asyncio.sleep(0.005)
    assert call.disconnect_listener is lost
    lost.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(20):
            await asyncio.Event().wait()
    call.task.uncancel()
    assert call.disconnected
    assert context.cancelled
    calls.leave(call)


async def test_an_answer_leaves_nothing_at_the_connection() -> None:
    calls = ActiveCalls()
    lost = asyncio.get_running_loop().create_future()
    call = calls.enter(never, lost)
    call.guard(CallContext())
    async with asyncio.timeout(20):
        while call.disconnect_listener is None:
            await asyncio.sleep(0.005)
    call.unguard()
    lost.set_result(None)
    await asyncio.sleep(0)
    assert not call.disconnected
    calls.leave(call)


async def test_draining_waits_and_then_aborts() -> None:
    calls, cut = ActiveCalls(), []

    async def serve(seconds: float) -> str:
        call = calls.enter(never)
        call.guard(CallContext())
        try:
            await asyncio.sleep(seconds)
            return "answered"
        except asyncio.CancelledError:
            assert call.model_context is not None
            cut.append(call.model_context.cancelled)
            assert calls.was_aborted(call)
            return "cut"
        finally:
            call.unguard()
            calls.leave(call)

    soon, late = asyncio.create_task(serve(0.05)), asyncio.create_task(serve(60))
    await asyncio.sleep(0)
    assert len(calls) == 2
    began = time.monotonic()
    await calls.drain(0.3)
    assert time.monotonic() - began < 5
    assert (await soon, await late) == ("answered", "cut")
    assert cut == [True]


async def test_a_cancellation_from_elsewhere_is_not_an_abort() -> None:
    calls = ActiveCalls()
    call = calls.enter(never)
    assert not calls.was_aborted(call)
    calls.leave(call)
