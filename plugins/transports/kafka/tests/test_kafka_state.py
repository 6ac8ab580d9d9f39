"""The state of the topics, and the route that tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

import mlsrv_kafka.plugin
import mlsrv_rest.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel, make_kernel
from mlsrv_kafka.partition import Partition, Record
from mlsrv_kafka.state import state_of
from mlsrv_rest import create_app


def test_partitions_are_grouped_by_topic(record: Callable[..., Record]) -> None:
    one, two, other = Partition("a", 1), Partition("a", 0), Partition("b", 0)
    two.high = 10
    two.take([record(offset=4, partition=two)])
    state = state_of([one, other, two], None)
    assert (state["connected"], state["problem"]) == (True, None)
    assert [topic["name"] for topic in state["topics"]] == ["a", "b"]
    first, second = state["topics"][0]["partitions"]
    assert (first["partition"], first["lag"], first["in_flight"]) == (0, 6, 1)
    assert first["oldest_seconds"] > 0
    assert second == {"partition": 1, "lag": None, "in_flight": 0, "oldest_seconds": 0.0}
    assert state_of([], "away") == {"connected": False, "problem": "away", "topics": []}


async def test_the_route(mock: Any) -> None:
    await asyncio.to_thread(mock.create, "in", "out", "errors")
    plugins = [mlsrv_rest.plugin, mlsrv_kafka.plugin]
    models = [ModelSettings(name="echo", implementation=EchoModel)]
    settings = mock.settings(host="127.0.0.1", http_port=0)
    stop, listening = asyncio.Event(), asyncio.Event()
    async with Kernel(settings, models=models, plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        serving = asyncio.create_task(kernel.serve(stop.wait, listening.set))
        try:
            async with asyncio.timeout(60), httpx.AsyncClient() as client:
                await listening.wait()
                url = f"{kernel.transports['rest'].endpoints[0]}/v2/kafka"
                while not (state := (await client.get(url)).json())["topics"]:
                    await asyncio.sleep(0.05)
            [topic] = state["topics"]
            assert topic["name"] == "in"
            assert [one["partition"] for one in topic["partitions"]] == [0, 1, 2, 3]
            assert state["connected"] is True
            assert "kafka" in kernel.server_metadata().extensions
        finally:
            stop.set()
            await serving


async def test_no_route_without_kafka_and_no_topics_before_the_start() -> None:
    plugins = [mlsrv_rest.plugin, mlsrv_kafka.plugin]
    for enabled, status in ((False, 404), (True, 200)):
        kernel = make_kernel(plugins=plugins, kafka_enabled=enabled)
        async with kernel:
            transport = httpx.ASGITransport(create_app(kernel))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                answer = await client.get("/v2/kafka")
                assert answer.status_code == status
                assert not enabled or answer.json()["connected"] is False
