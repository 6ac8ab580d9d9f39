"""Requests in flight: clients that go away, draining and cutting."""

from __future__ import annotations

import asyncio
import time

import pytest

from mlsrv.context import CallContext
from mlsrv_rest.calls import InFlight
from mlsrv_rest.reply import Message


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_client_that_goes_away_cancels() -> None:
    in_flight, gone = InFlight(), asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    call = in_flight.enter(receive)
    context = CallContext()
    call.watch(context)
    gone.set()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(20):
            await asyncio.Event().wait()
    call.task.uncancel()
    assert call.gone
    assert context.cancelled
    call.unwatch()
    in_flight.leave(call)
    assert len(in_flight) == 0


async def test_short_calls_start_no_listener() -> None:
    async def receive() -> Message:
        raise AssertionError("nobody should listen")

    in_flight = InFlight()
    call = in_flight.enter(receive)
    call.watch(CallContext())
    await asyncio.sleep(0)
    call.unwatch()
    in_flight.leave(call)
    await in_flight.finish(0)
    assert call.listener is None


async def test_an_answer_ends_the_listening() -> None:
    in_flight = InFlight()
    call = in_flight.enter(never)
    call.watch(CallContext())
    async with asyncio.timeout(20):
        while call.listener is None:
            await asyncio.sleep(0.005)
    call.unwatch()
    await asyncio.wait({call.listener})
    assert call.listener.cancelled()
    in_flight.leave(call)


async def test_other_messages_cancel_nothing() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    in_flight = InFlight()
    call = in_flight.enter(receive)
    call.watch(CallContext())
    async with asyncio.timeout(20):
        while call.listener is None or not call.listener.done():
            await asyncio.sleep(0.005)
    assert not call.gone
    call.unwatch()
    in_flight.leave(call)


async def test_finishing_waits_and_then_cuts() -> None:
    in_flight, cut = InFlight(), []

    async def serve(seconds: float) -> str:
        call = in_flight.enter(never)
        call.watch(CallContext())
        try:
            await asyncio.sleep(seconds)
            return "answered"
        except asyncio.CancelledError:
            assert call.context is not None
            cut.append(call.context.cancelled)
            assert in_flight.was_cut(call)
            return "cut"
        finally:
            call.unwatch()
            in_flight.leave(call)

    soon, late = asyncio.create_task(serve(0.05)), asyncio.create_task(serve(60))
    await asyncio.sleep(0)
    assert len(in_flight) == 2
    began = time.monotonic()
    await in_flight.finish(0.3)
    assert time.monotonic() - began < 5
    assert (await soon, await late) == ("answered", "cut")
    assert cut == [True]


async def test_a_cancellation_by_somebody_else_is_not_a_cut() -> None:
    in_flight = InFlight()
    call = in_flight.enter(never)
    assert not in_flight.was_cut(call)
    in_flight.leave(call)
