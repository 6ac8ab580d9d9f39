"""The cycle of a request: what it writes, with and without the short way."""

import asyncio
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from mlsrv_rest.asgi import Message
from mlsrv_rest.buffered_response import JSON
from mlsrv_rest.servers.cycle import Cycle
from mlsrv_rest.write_coalescing import CoalescingWriter

BODY = b'{"outputs":[]}'
LENGTH = (b"content-length", b"%d" % len(BODY))
HEAD = b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
    BODY
)
OTHER = [(b"content-type", b"application/json"), LENGTH]  # equal, but not the same: Uvicorn's way


class Target:
    """A transport that records what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def make_cycle(target: Target, method: str = "POST", keep_alive: bool = True) -> Cycle:
    writer: Any = CoalescingWriter(target)
    return Cycle(
        {"method": method},  # type: ignore[typeddict-item]  # all that it reads
        writer,
        FlowControl(writer),
        None,  # type: ignore[arg-type]  # it logs nothing
        None,  # type: ignore[arg-type]  # as above
        False,
        [(b"date", b"now")],
        asyncio.Event(),
        False,
        keep_alive,
        lambda: None,
    )


def start(headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": headers}


@pytest.mark.parametrize("headers", [[JSON, LENGTH], OTHER])
async def test_json_of_known_length_is_one_write(headers: list[tuple[bytes, bytes]]) -> None:
    target = Target()
    cycle = make_cycle(target)
    await cycle.send(start(headers))
    await cycle.send({"type": "http.response.body", "body": BODY})
    assert target.written == [HEAD + BODY]
    assert cycle.response_complete
    assert not target.closed


async def test_a_body_in_parts_follows_its_head() -> None:
    target = Target()
    cycle = make_cycle(target)
    await cycle.send(start([JSON, LENGTH]))
    await cycle.send({"type": "http.response.body", "body": BODY[:5], "more_body": True})
    await cycle.send({"type": "http.response.body", "body": BODY[5:]})
    assert b"".join(target.written) == HEAD + BODY
    assert cycle.response_complete


async def test_a_body_of_another_length_is_refused() -> None:
    cycle = make_cycle(Target())
    await cycle.send(start([JSON, LENGTH]))
    with pytest.raises(RuntimeError, match="longer"):
        await cycle.send({"type": "http.response.body", "body": BODY + b" "})


@pytest.mark.parametrize("length", [b"", b"1\r\nx: y"])
async def test_a_length_that_is_no_number_is_left_to_uvicorn(length: bytes) -> None:
    cycle = make_cycle(Target())
    with pytest.raises((RuntimeError, ValueError)):
        await cycle.send(start([JSON, (b"content-length", length)]))


async def test_an_answer_to_head_has_no_body() -> None:
    target = Target()
    cycle = make_cycle(target, "HEAD")
    await cycle.send(start([JSON, LENGTH]))
    await cycle.send({"type": "http.response.body", "body": b""})
    await asyncio.sleep(0)
    assert target.written == [HEAD]


async def test_the_last_answer_of_a_connection_says_so() -> None:
    target = Target()
    cycle = make_cycle(target, keep_alive=False)
    await cycle.send(start([JSON, LENGTH]))
    await cycle.send({"type": "http.response.body", "body": BODY})
    assert b"connection: close\r\n" in b"".join(target.written)
    assert target.closed


async def test_nothing_is_written_for_a_client_that_has_gone() -> None:
    target = Target()
    cycle = make_cycle(target)
    cycle.disconnected = target.closed = True
    await cycle.send(start([JSON, LENGTH]))
    await cycle.send({"type": "http.response.body", "body": BODY})
    assert target.written == []
