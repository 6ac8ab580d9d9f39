"""The spans of gRPC calls, around any handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from collector import SECONDS, Collector
from mlsrv_opentelemetry.rpc import TracedCalls
from mlsrv_opentelemetry.tracing import Target, Tracing


async def tell(body: bytes, rpc: Any) -> bytes:
    """The trace that a handler finds."""
    return dict(rpc.invocation_metadata())["traceparent"].encode()


async def act(body: bytes, rpc: Any) -> bytes:
    """Does what it is told."""
    if body == b"abort":
        await rpc.abort(grpc.StatusCode.NOT_FOUND, "no")
    if body == b"set":
        rpc.set_code(grpc.StatusCode.UNAVAILABLE)
        return b""
    if body == b"wait":
        await asyncio.Event().wait()
    raise RuntimeError("unexpected")


async def many(body: bytes, rpc: Any) -> AsyncIterator[bytes]:
    for _ in range(3):
        yield body


def synchronous(body: bytes, rpc: Any) -> bytes:
    return body


METHODS = {
    "Tell": grpc.unary_unary_rpc_method_handler(tell),
    "Act": grpc.unary_unary_rpc_method_handler(act),
    "Many": grpc.unary_stream_rpc_method_handler(many),
    "Synchronous": grpc.unary_unary_rpc_method_handler(synchronous),
}


@pytest.fixture
async def channel(collector: Collector) -> AsyncIterator[grpc.aio.Channel]:
    tracing = Tracing(Target(collector.url, "grpc", 1.0, ("s", "1"), 100, False))
    server = grpc.aio.server(interceptors=[TracedCalls(tracing)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("acme.Things", METHODS)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as made:
        yield made
    await server.stop(None)
    await asyncio.to_thread(tracing.close)


def seen(collector: Collector, name: str, count: int = 1) -> list[Any]:
    collector.wait(lambda spans: sum(span.name == f"acme.Things/{name}" for span in spans) == count)
    return collector.named(f"acme.Things/{name}")


async def call(channel: grpc.aio.Channel, method: str, body: bytes = b"", timeout: float = SECONDS) -> bytes:
    return bytes(await channel.unary_unary(f"/acme.Things/{method}")(body, timeout=timeout))


async def test_the_conventions(channel: grpc.aio.Channel, collector: Collector) -> None:
    told = await call(channel, "Tell")
    (span,) = await asyncio.to_thread(seen, collector, "Tell")
    assert told.decode()[:-2] == f"00-{span.trace}-{span.id}-"
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "acme.Things",
        "rpc.method": "Tell",
        "rpc.grpc.status_code": 0,
    }


@pytest.mark.parametrize(
    ("told", "code", "failed"), [(b"abort", 5, False), (b"set", 14, True), (b"raise", 2, True)]
)
async def test_the_status_of_a_call_is_recorded(
    channel: grpc.aio.Channel, collector: Collector, told: bytes, code: int, failed: bool
) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await call(channel, "Act", told)
    (span,) = await asyncio.to_thread(seen, collector, "Act")
    assert (span.attributes["rpc.grpc.status_code"], span.failed) == (code, failed)


async def test_a_client_that_leaves(channel: grpc.aio.Channel, collector: Collector) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await call(channel, "Act", b"wait", timeout=0.1)
    (span,) = await asyncio.to_thread(seen, collector, "Act")
    assert (span.attributes["rpc.grpc.status_code"], span.failed) == (1, False)


async def test_generators_and_synchronous_handlers(channel: grpc.aio.Channel, collector: Collector) -> None:
    method = channel.unary_stream("/acme.Things/Many")
    assert [message async for message in method(b"a", timeout=SECONDS)] == [b"a"] * 3
    assert await call(channel, "Synchronous", b"b") == b"b"
    with pytest.raises(grpc.aio.AioRpcError):
        await call(channel, "Unknown")
    await asyncio.to_thread(seen, collector, "Many")
    assert [span.name for span in collector.spans] == ["acme.Things/Many"]
