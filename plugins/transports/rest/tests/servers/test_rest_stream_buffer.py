"""Stream buffer: gives what it was given, in any parts, and lets its sender wait."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypercorn.asyncio.worker_context import EventWrapper
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BufferCompleteError

from mlsrv_rest.servers.stream_buffer import StreamBuffer, UnsentData


def test_data_is_as_in_a_bytearray() -> None:
    chance = random.Random(1)
    unsent, expected = UnsentData(), bytearray()
    for _ in range(2000):
        data = chance.randbytes(chance.choice([0, 1, 5, 100]))
        unsent.extend(data)
        expected.extend(data)
        count = chance.choice([0, 1, 7, 60, 1000])
        assert unsent.take(count) == bytes(expected[:count])
        del expected[:count]
        assert len(unsent) == len(expected)


async def test_a_sender_waits_while_the_client_does_not_read() -> None:
    buffer = StreamBuffer(EventWrapper)
    sending = asyncio.create_task(buffer.push(bytes(3 * BUFFER_HIGH_WATER)))
    for taken in (2**14, 0, 0, BUFFER_HIGH_WATER):
        await asyncio.sleep(0)
        assert len(await buffer.pop(taken)) == taken
        assert not sending.done()
    await buffer.pop(2**14 + 1)
    await asyncio.wait_for(sending, 5)
    buffer.set_complete()
    draining = asyncio.create_task(buffer.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    assert len(await buffer.pop(2**20)) == BUFFER_HIGH_WATER - 1
    await asyncio.wait_for(draining, 5)
    assert buffer.complete


async def test_a_closed_buffer_lets_its_sender_go() -> None:
    buffer = StreamBuffer(EventWrapper)
    sending = asyncio.create_task(buffer.push(bytes(3 * BUFFER_HIGH_WATER)))
    await asyncio.sleep(0)
    await buffer.close()
    await asyncio.wait_for(sending, 5)
    with pytest.raises(BufferCompleteError):
        await buffer.push(b"more")
