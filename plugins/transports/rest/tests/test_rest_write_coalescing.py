"""Head and body of a response are written together."""

from __future__ import annotations

import asyncio

import pytest

from mlsrv_rest.write_coalescing import CoalescingWriter

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Target:
    """Stand-in for the transport of a `CoalescingWriter`."""

    def __init__(self) -> None:
        self.calls: list[bytes | str] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.calls.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def write_eof(self) -> None:
        self.calls.append("eof")

    def close(self) -> None:
        self.calls.append("close")

    def get_extra_info(self, name: str) -> str:
        return name


async def test_head_and_body_are_one_write() -> None:
    target = Target()
    writer = CoalescingWriter(target)
    writer.write(HEAD)
    writer.write(b"body")
    writer.write(b"more")
    assert target.calls == [HEAD + b"body", b"more"]
    await asyncio.sleep(0)
    assert target.calls == [HEAD + b"body", b"more"]


async def test_a_head_alone_does_not_wait_for_long() -> None:
    target = Target()
    writer = CoalescingWriter(target)
    writer.write(HEAD)
    assert target.calls == []
    await asyncio.sleep(0)
    assert target.calls == [HEAD]


async def test_large_bodies_are_not_copied() -> None:
    target = Target()
    writer = CoalescingWriter(target)
    writer.write(HEAD)
    writer.write(bytes(100_000))
    assert target.calls == [HEAD, bytes(100_000)]


async def test_two_heads() -> None:
    target = Target()
    writer = CoalescingWriter(target)
    writer.write(HEAD)
    writer.write(HEAD)
    await asyncio.sleep(0)
    assert target.calls == [HEAD + HEAD]


async def test_nothing_is_lost_at_the_end() -> None:
    target = Target()
    writer = CoalescingWriter(target)
    writer.write(HEAD)
    writer.close()
    writer.write(HEAD)
    writer.write_eof()
    assert target.calls == [HEAD, "close", HEAD, "eof"]


async def test_nothing_is_written_to_a_closing_transport() -> None:
    target = Target()
    writer = CoalescingWriter(target)
    writer.write(HEAD)
    target.closing = True
    await asyncio.sleep(0)
    assert target.calls == []


async def test_everything_else_is_delegated_to_the_target() -> None:
    assert CoalescingWriter(Target()).get_extra_info("socket") == "socket"


@pytest.mark.parametrize("size", [4, 100_000])
async def test_a_whole_response_comes_after_a_head_that_waits(size: int) -> None:
    target = Target()
    writer = CoalescingWriter(target)
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    writer.write_whole(HEAD, bytes(size))
    expected = [HEAD + bytes(size)] if size < 100_000 else [HEAD, bytes(size)]
    assert target.calls == [b"HTTP/1.1 100 Continue\r\n\r\n", *expected]
