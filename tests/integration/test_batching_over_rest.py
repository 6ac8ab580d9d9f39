"""Batching, seen through REST."""

from __future__ import annotations

import asyncio

import httpx

import mlsrv_batching.plugin
import mlsrv_rest.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel, SlowModel
from mlsrv_rest import create_app


async def test_batches_form_and_explain_themselves() -> None:
    models = [
        ModelSettings(name="slow", implementation=SlowModel, max_batch_size=16, max_batch_time=1.0),
        ModelSettings(name="plain", implementation=EchoModel),
        ModelSettings(
            name="slow",
            implementation=SlowModel,
            parameters={"version": "2"},
            max_batch_size=4,
            max_batch_time=1.0,
        ),
    ]
    plugins = [mlsrv_rest.plugin, mlsrv_batching.plugin]
    async with Kernel(models=models, plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        transport = httpx.ASGITransport(create_app(kernel))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client:

            async def ask(number: int) -> None:
                tensor = {"name": "x", "shape": [1, 2], "datatype": "INT32", "data": [number, -number]}
                body = {"id": str(number), "inputs": [tensor]}
                answer = (await client.post("/v2/models/slow/infer", json=body)).json()
                assert answer["id"] == str(number)
                assert answer["outputs"][0]["data"] == [number, -number]

            await asyncio.gather(*map(ask, range(12)))
            found = (await client.get("/v2/models/slow/batching")).json()
            assert sum(one["requests"] for one in found["decisions"]) == 12
            assert max(one["requests"] for one in found["decisions"]) > 5
            assert (found["waiting_requests"], found["running"]) == (0, 0)
            assert (await client.get("/v2/models/plain/batching")).json()["batching"] is False
            assert (await client.get("/v2/models/nope/batching")).status_code == 404
            assert (await client.get("/v2/models/slow/versions/3/batching")).status_code == 404
            second = (await client.get("/v2/models/slow/versions/2/batching")).json()
            assert (second["max_batch_size"], second["decisions"]) == (4, [])
            await kernel.unload("plain")
            assert (await client.get("/v2/models/plain/batching")).status_code == 503
        statistics = kernel.statistics("slow")[-1]
        assert statistics["inference_count"] == 12
        assert statistics["execution_count"] == len(found["decisions"])
