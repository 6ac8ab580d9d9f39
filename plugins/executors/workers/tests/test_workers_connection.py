"""Both ends of a connection, in one process."""

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from attrs import define, field

from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.frames import ALIGNMENT, ARENA_THRESHOLD, Frame, Kind, dump
from mlsrv_workers.ipc.shared_memory import make_file


@define
class End:
    """One end, and what arrived there."""

    connection: Connection
    frames: "asyncio.Queue[Frame]" = field(factory=asyncio.Queue)
    lost: asyncio.Event = field(factory=asyncio.Event)

    async def next(self) -> Frame:
        return await asyncio.wait_for(self.frames.get(), 10)


@asynccontextmanager
async def connected(size: int = 1 << 22) -> AsyncIterator[tuple[End, End]]:
    sockets = socket.socketpair()
    arenas = make_file(size), make_file(size)
    ends: list[End] = []
    for index, sock in enumerate(sockets):
        sock.setblocking(False)

        def on_frame(frame: Frame, index: int = index) -> None:
            if frame.kind is Kind.RELEASE:
                ends[index].connection.release(frame.call)
            elif frame.kind is Kind.LOG:
                raise ValueError("this frame is trouble")
            else:
                ends[index].frames.put_nowait(frame)

        connection = await Connection.open(
            sock, on_frame, lambda index=index: ends[index].lost.set(), arenas[index], arenas[1 - index]
        )
        ends.append(End(connection))
    for descriptor in arenas:
        os.close(descriptor)
    yield ends[0], ends[1]
    for end in ends:
        end.connection.close()
        await asyncio.wait_for(end.lost.wait(), 10)


ARRAYS = [
    np.arange(3, dtype=np.uint8),
    np.arange(5, dtype=np.float64),
    np.array([], np.float32),
    np.float32(3.5).reshape(()),
    np.arange(ARENA_THRESHOLD, dtype=np.uint8).reshape(-1, 8),
    np.arange(ARENA_THRESHOLD - 1, dtype=np.uint8),
    np.random.default_rng(0).random((300, 400)),
]


async def test_buffers_arrive_as_they_were_sent() -> None:
    async with connected() as (here, there):
        here.connection.send(Kind.INFER, 7, dump({"a": [1, None, "ä"]}), list(ARRAYS))
        frame = await there.next()
        assert (frame.kind, frame.call, frame.payload()) == (Kind.INFER, 7, {"a": [1, None, "ä"]})
        for sent, got in zip(ARRAYS, frame.buffers, strict=True):
            array = np.frombuffer(got, sent.dtype)
            assert array.tobytes() == sent.tobytes()
            assert array.flags.aligned
            assert array.size == 0 or array.ctypes.data % ALIGNMENT == 0
            assert array.size == 0 or array.flags.writeable


async def test_large_buffers_take_the_arena_and_give_it_back() -> None:
    async with connected() as (here, there):
        here.connection.send(Kind.INFER, 1, dump(None), [np.zeros(1 << 20, np.uint8)])
        frame: Any = await there.next()
        assert here.connection.arena_used == 1 << 20
        view = frame.buffers[0][5:10]
        del frame
        gc.collect()
        there.connection.send(Kind.RESULT, 1)
        await here.next()
        assert here.connection.arena_used == 1 << 20
        del view
        gc.collect()
        there.connection.send(Kind.RESULT, 2)
        await here.next()
        # The frame has taken the news along that nothing refers to the block any more.
        assert here.connection.arena_used == 0


async def test_what_is_let_go_in_another_thread_is_given_back_without_another_frame() -> None:
    async with connected() as (here, there):
        here.connection.send(Kind.INFER, 1, dump(None), [np.zeros(1 << 20, np.uint8)])
        views = [(await there.next()).buffers]
        await asyncio.to_thread(views.clear)
        async with asyncio.timeout(10):
            while here.connection.arena_used:
                await asyncio.sleep(0.001)


async def test_a_full_arena_is_no_limit() -> None:
    async with connected(size=ARENA_THRESHOLD) as (here, there):
        arrays = [np.random.default_rng(seed).random(200_000) for seed in range(3)]
        arrays.insert(1, np.arange(ARENA_THRESHOLD + 1, dtype=np.uint8))
        here.connection.send(Kind.INFER, 1, dump(None), list(arrays))
        frame = await there.next()
        for sent, got in zip(arrays, frame.buffers, strict=True):
            assert bytes(got) == sent.tobytes()
            assert np.frombuffer(got, sent.dtype).flags.aligned


async def test_frames_keep_their_order_in_both_directions() -> None:
    async with connected() as (here, there):
        for number in range(500):
            here.connection.send(Kind.INFER, number, dump("x" * number))
            there.connection.send(Kind.RESULT, number)
        assert [(await there.next()).call for _ in range(500)] == list(range(500))
        assert [(await here.next()).call for _ in range(500)] == list(range(500))


async def test_a_frame_that_goes_wrong_does_no_harm_to_others(caplog: pytest.LogCaptureFixture) -> None:
    async with connected() as (here, there):
        here.connection.send(Kind.LOG)
        here.connection.send(Kind.INFER, 3)
        assert (await there.next()).call == 3
        assert "this frame is trouble" in caplog.text


async def test_the_end_is_told_and_sending_is_harmless_then() -> None:
    async with connected() as (here, there):
        here.connection.send(Kind.INFER, 1)
        here.connection.close()
        assert (await there.next()).call == 1
        await asyncio.wait_for(there.lost.wait(), 10)
        there.connection.send(Kind.RESULT, 1)
        there.connection.send_threadsafe(Kind.LOG, dump({}))
        assert there.connection.closed
