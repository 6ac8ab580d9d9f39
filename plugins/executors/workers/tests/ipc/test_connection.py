"""Connection: both ends in one process."""

import asyncio
import gc
import mmap
import os
import select
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from attrs import define, field

from mlsrv_executor_kit.plain_values import dump
from mlsrv_executor_kit.serialization import BUFFER_THRESHOLD
from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.frames import ALIGNMENT, Frame, FrameKind
from mlsrv_workers.ipc.shared_memory import create_shared_file


@define
class End:
    """One end of a connection and the frames that it received."""

    connection: Connection
    frames: "asyncio.Queue[Frame]" = field(factory=asyncio.Queue)
    lost: asyncio.Event = field(factory=asyncio.Event)

    async def next(self) -> Frame:
        return await asyncio.wait_for(self.frames.get(), 10)


@asynccontextmanager
async def connected(size: int = 1 << 22) -> AsyncIterator[tuple[End, End]]:
    sockets = socket.socketpair()
    memories = create_shared_file(size), create_shared_file(size)
    ends: list[End] = []
    for index, sock in enumerate(sockets):
        sock.setblocking(False)

        def on_frame(frame: Frame, index: int = index) -> None:
            if frame.kind is FrameKind.RELEASE:
                ends[index].connection.release(frame.call)
            elif frame.kind is FrameKind.LOG:
                raise ValueError("this frame fails")
            else:
                ends[index].frames.put_nowait(frame)

        connection = await Connection.open(
            sock, on_frame, lambda index=index: ends[index].lost.set(), memories[index], memories[1 - index]
        )
        ends.append(End(connection))
    for descriptor in memories:
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
    np.arange(BUFFER_THRESHOLD, dtype=np.uint8).reshape(-1, 8),
    np.arange(BUFFER_THRESHOLD - 1, dtype=np.uint8),
    np.random.default_rng(0).random((300, 400)),
]


async def test_buffers_arrive_as_they_were_sent() -> None:
    async with connected() as (here, there):
        here.connection.send(FrameKind.INFER, 7, dump({"a": [1, None, "ä"]}), list(ARRAYS))
        frame = await there.next()
        assert (frame.kind, frame.call, frame.unpickled()) == (FrameKind.INFER, 7, {"a": [1, None, "ä"]})
        for sent, got in zip(ARRAYS, frame.buffers, strict=True):
            array = np.frombuffer(got, sent.dtype)
            assert array.tobytes() == sent.tobytes()
            assert array.flags.aligned
            assert array.size == 0 or array.ctypes.data % ALIGNMENT == 0
            assert array.size == 0 or array.flags.writeable


async def test_large_buffers_use_shared_memory_and_release_it() -> None:
    async with connected() as (here, there):
        here.connection.send(FrameKind.INFER, 1, dump(None), [np.zeros(1 << 20, np.uint8)])
        frame: Any = await there.next()
        assert here.connection.shared_memory_used == 1 << 20
        view = frame.buffers[0][5:10]
        del frame
        gc.collect()
        there.connection.send(FrameKind.RESULT, 1)
        await here.next()
        assert here.connection.shared_memory_used == 1 << 20
        del view
        gc.collect()
        there.connection.send(FrameKind.RESULT, 2)
        await here.next()
        # The frame carried the release of the block with it.
        assert here.connection.shared_memory_used == 0


@pytest.mark.skipif(not hasattr(mmap, "MADV_REMOVE"), reason="this system cannot give pages back")
async def test_shared_memory_that_is_needed_no_more_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsrv_workers.ipc.connection.TRIM_INTERVAL", 0.01)
    given_back = asyncio.Event()

    def give_back(writer: Any, start: int, end: int) -> None:
        if (start, end) == (0, 1 << 20):
            given_back.set()

    monkeypatch.setattr("mlsrv_workers.ipc.shared_memory.SharedMemoryWriter._give_back", give_back)
    async with connected() as (here, there):
        for number in range(2):
            here.connection.send(FrameKind.INFER, number, dump(None), [np.zeros(1 << 20, np.uint8)])
            frame: Any = await there.next()
            del frame
            gc.collect()
            async with asyncio.timeout(20):
                await given_back.wait()
            given_back.clear()


async def test_a_block_released_in_another_thread_is_reported_without_another_frame() -> None:
    async with connected() as (here, there):
        here.connection.send(FrameKind.INFER, 1, dump(None), [np.zeros(1 << 20, np.uint8)])
        views = [(await there.next()).buffers]
        await asyncio.to_thread(views.clear)
        async with asyncio.timeout(10):
            while here.connection.shared_memory_used:
                await asyncio.sleep(0.001)


async def test_buffers_that_do_not_fit_into_shared_memory_follow_in_the_stream() -> None:
    async with connected(size=BUFFER_THRESHOLD) as (here, there):
        arrays = [np.random.default_rng(seed).random(200_000) for seed in range(3)]
        arrays.insert(1, np.arange(BUFFER_THRESHOLD + 1, dtype=np.uint8))
        here.connection.send(FrameKind.INFER, 1, dump(None), list(arrays))
        frame = await there.next()
        for sent, got in zip(arrays, frame.buffers, strict=True):
            assert bytes(got) == sent.tobytes()
            assert np.frombuffer(got, sent.dtype).flags.aligned


async def test_frames_keep_their_order_in_both_directions() -> None:
    async with connected() as (here, there):
        for number in range(500):
            here.connection.send(FrameKind.INFER, number, dump("x" * number))
            there.connection.send(FrameKind.RESULT, number)
        assert [(await there.next()).call for _ in range(500)] == list(range(500))
        assert [(await here.next()).call for _ in range(500)] == list(range(500))


async def test_a_frame_whose_handler_fails_does_not_affect_others(caplog: pytest.LogCaptureFixture) -> None:
    async with connected() as (here, there):
        here.connection.send(FrameKind.LOG)
        here.connection.send(FrameKind.INFER, 3)
        assert (await there.next()).call == 3
        assert "this frame fails" in caplog.text


async def test_on_lost_is_called_and_sending_afterwards_does_nothing() -> None:
    async with connected() as (here, there):
        here.connection.send(FrameKind.INFER, 1)
        here.connection.close()
        assert (await there.next()).call == 1
        await asyncio.wait_for(there.lost.wait(), 10)
        there.connection.send(FrameKind.RESULT, 1)
        there.connection.send_threadsafe(FrameKind.LOG, dump({}))
        assert there.connection.closed


async def test_frames_of_one_turn_travel_together_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected() as (here, there):
        writes = recorded_writes(here, monkeypatch)
        counts = []
        for _ in range(2):
            for call in range(10):
                here.connection.send(FrameKind.INFER, call, dump(call))
            counts.append(len(writes))
            assert [(await there.next()).call for _ in range(10)] == list(range(10))
            counts.append(len(writes))
        assert counts == [1, 2, 2, 3]  # the first frame had no reason to wait


async def test_a_lone_frame_leaves_at_once() -> None:
    async with connected() as (here, there):
        receiving = there.connection._socket
        for _ in range(3):
            for call in range(2):
                here.connection.send(FrameKind.INFER, call)
                assert await there.next()
        here.connection.send(FrameKind.INFER, 2)
        assert can_be_read(receiving)
        assert (await there.next()).call == 2


async def test_frames_do_not_wait_for_a_turn_that_lasts() -> None:
    async with connected() as (here, there):
        for call in range(2):
            here.connection.send(FrameKind.INFER, call)
        assert [(await there.next()).call for _ in range(2)] == [0, 1]
        here.connection.send(FrameKind.INFER, 1)
        assert not can_be_read(there.connection._socket)
        time.sleep(0.01)  # as code of a model on the event loop does
        here.connection.send(FrameKind.INFER, 2)
        assert can_be_read(there.connection._socket)
        assert [(await there.next()).call for _ in range(2)] == [1, 2]


async def test_frames_that_the_system_takes_in_parts_arrive_whole_and_in_order() -> None:
    async with connected() as (here, there):
        for number in range(6):
            here.connection.send(FrameKind.INFER, number, dump(str(number) * (number % 2) * 3_000_000))
        frames = [await there.next() for _ in range(6)]
        assert [frame.call for frame in frames] == list(range(6))
        assert [frame.unpickled() == str(n) * (n % 2) * 3_000_000 for n, frame in enumerate(frames)] == [
            True
        ] * 6


async def test_a_frame_for_an_end_that_has_gone_ends_the_connection() -> None:
    async with connected() as (here, there):
        there.connection._socket.shutdown(socket.SHUT_RDWR)
        for call in range(3):
            here.connection.send(FrameKind.INFER, call)
        await asyncio.wait_for(here.lost.wait(), 10)


async def test_what_was_sent_just_before_the_end_arrives() -> None:
    async with connected() as (here, there):
        here.connection.send(FrameKind.INFER, 1)
        here.connection.close()
        assert (await there.next()).call == 1


def recorded_writes(end: End, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list to which the writes of an end are added."""
    writes: list[bytes] = []
    write = end.connection._write

    def record(transport: asyncio.Transport, data: bytes) -> None:
        writes.append(data)
        write(transport, data)

    monkeypatch.setattr(end.connection, "_write", record)
    return writes


def can_be_read(sock: socket.socket) -> bool:
    """Return whether something has arrived at a socket, before the event loop goes on."""
    return bool(select.select([sock], [], [], 0)[0])
