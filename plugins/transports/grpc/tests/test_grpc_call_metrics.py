"""Metrics of gRPC calls: each call has its status code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

import mlsrv_grpc.plugin
from mlsrv import Kernel, MeterOffer, ModelSettings
from mlsrv.testing import EchoModel, FailingModel, MemoryMeter, Offering, SlowModel, text_request
from mlsrv_protocol.grpc import INFERENCE, encode_request

METERED = Offering(MeterOffer("memory", MemoryMeter), name="memory")
MODELS = [
    ModelSettings(name="echo", implementation=EchoModel),
    ModelSettings(name="failing", implementation=FailingModel),
    ModelSettings(name="slow", implementation=SlowModel, parameters={"extra": {"seconds": 60}}),
]
INFER = ("UNARY", INFERENCE, "ModelInfer")


@asynccontextmanager
async def serving(*plugins: object) -> AsyncIterator[tuple[Kernel, grpc.aio.Channel]]:
    settings = {"host": "127.0.0.1", "grpc_port": 0}
    stop, listening = asyncio.Event(), asyncio.Event()
    async with Kernel(
        settings, plugins=[mlsrv_grpc.plugin, *plugins], models=MODELS, discover=False
    ) as kernel:
        await kernel.loaded()
        task = asyncio.create_task(kernel.serve(stop.wait, listening.set))
        await asyncio.wait_for(listening.wait(), 20)
        address = kernel.transports["grpc"].endpoints[0].partition("://")[2]
        async with grpc.aio.insecure_channel(address) as channel:
            yield kernel, channel
        stop.set()
        await task


async def code(channel: grpc.aio.Channel, model: str) -> str:
    call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
    try:
        await call(encode_request(text_request(model, ["hi"])), timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def memory(kernel: Kernel) -> MemoryMeter:
    found = kernel.meters["memory"]
    assert isinstance(found, MemoryMeter)
    return found


async def until_handled(kernel: Kernel, count: int) -> dict[str, float]:
    """Calls by their code, once so many have ended: clients may know of it first."""
    async with asyncio.timeout(20):
        while True:
            sums = memory(kernel).sums
            found = {labels[-1]: sums[labels] for labels in sums if labels[0] == "grpc_server_handled"}
            if sum(found.values()) >= count:
                return found
            await asyncio.sleep(0.01)


async def test_calls_are_counted_with_their_code(open_call: Any) -> None:
    async with serving(METERED) as (kernel, channel):
        assert await code(channel, "echo") == "OK"
        assert await code(channel, "failing") == "INTERNAL"
        assert await code(channel, "nobody") == "NOT_FOUND"
        # No client that cancels the call when its own clock says so, which may be earlier than the server's.
        target = kernel.transports["grpc"].endpoints[0].partition("://")[2]
        with open_call(
            target, "ModelInfer", encode_request(text_request("slow", ["hi"])), grpc_timeout="100m"
        ):
            await until_handled(kernel, 4)  # or the call before would be taken for the next
        going = asyncio.create_task(code(channel, "slow"))
        while not kernel.handle("slow").loaded().in_flight:
            await asyncio.sleep(0.01)
        going.cancel()
        handled = await until_handled(kernel, 5)
        assert handled == dict.fromkeys(("OK", "INTERNAL", "NOT_FOUND", "DEADLINE_EXCEEDED", "CANCELLED"), 1)
        assert memory(kernel).sums["grpc_server_started", *INFER] == 5
        assert memory(kernel).counts["grpc_server_handling_seconds", *INFER] == 5


async def test_messages_of_streams_are_counted() -> None:
    async with serving(METERED) as (kernel, channel):
        call = channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")

        async def requests() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield encode_request(text_request("echo", ["hi"]))

        answers = [answer async for answer in call(requests(), timeout=20)]
        await until_handled(kernel, 1)
        labels = ("BIDI_STREAMING", INFERENCE, "ModelStreamInfer")
        assert memory(kernel).sums["grpc_server_msg_received", *labels] == 3
        assert memory(kernel).sums["grpc_server_msg_sent", *labels] == len(answers) == 3
        assert not any("msg" in key[0] and key[1] == "UNARY" for key in memory(kernel).sums)


async def test_an_unknown_method_makes_no_series() -> None:
    async with serving(METERED) as (kernel, channel):
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(f"/{INFERENCE}/Nothing")(b"", timeout=20)
        await code(channel, "echo")
        assert set(await until_handled(kernel, 1)) == {"OK"}


async def test_without_a_meter_the_handlers_are_the_same() -> None:
    async with serving() as (_, channel):
        assert await code(channel, "echo") == "OK"
