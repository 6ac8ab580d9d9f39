"""Channel: what two processes of a server tell each other."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from mlsrv.errors import MLSrvError, ModelNotFound
from mlsrv_cli.processes import channel
from mlsrv_cli.processes.channel import Channel, ChannelEnded


async def answer(topic: str, argument: Any) -> Any:
    if topic == "missing":
        raise ModelNotFound("There is none.")
    if topic == "wrong":
        raise ZeroDivisionError("by zero")
    if topic == "slow":
        await asyncio.sleep(60)
    return [topic, argument]


async def pair() -> tuple[Channel, Channel, list[asyncio.Task[None]]]:
    ends = socket.socketpair()
    channels = [Channel(answer, lambda topic, value: None) for _ in ends]
    for one, end in zip(channels, ends, strict=True):
        await one.open(end)
    return channels[0], channels[1], [asyncio.create_task(one.run()) for one in channels]


async def test_questions_are_answered_and_errors_travel() -> None:
    ours, _, tasks = await pair()
    assert await ours.ask("say", {"a": [1]}) == ["say", {"a": [1]}]
    with pytest.raises(MLSrvError, match="There is none") as caught:
        await ours.ask("missing")
    assert caught.value.code is ModelNotFound.code
    with pytest.raises(MLSrvError, match="ZeroDivisionError: by zero"):
        await ours.ask("wrong")
    with pytest.raises(TimeoutError):
        await ours.ask("slow", seconds=0.05)
    tasks[1].cancel()
    await asyncio.wait(tasks, timeout=5)
    with pytest.raises(ChannelEnded):
        await ours.ask("say")


async def test_open_questions_fail_when_the_other_end_goes() -> None:
    ours, _, tasks = await pair()
    asked = asyncio.create_task(ours.ask("slow"))
    await asyncio.sleep(0.05)
    tasks[1].cancel()
    with pytest.raises(ChannelEnded):
        await asyncio.wait_for(asked, 5)
    await asyncio.wait(tasks, timeout=5)


async def test_an_end_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "MOST_UNSENT", 2**20)
    ours, theirs = socket.socketpair()
    with theirs:
        one = Channel(answer, lambda topic, value: None)
        await one.open(ours)
        running = asyncio.create_task(one.run())
        asked = asyncio.create_task(one.ask("say"))
        await asyncio.sleep(0)
        for _ in range(100):
            one.tell("others", "x" * 100_000)
        await asyncio.wait_for(running, 5)
        with pytest.raises(ChannelEnded):
            await asked
