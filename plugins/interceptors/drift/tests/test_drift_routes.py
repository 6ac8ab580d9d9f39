"""Routes: the report over REST, and the reset."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np

import mlsrv_drift.plugin
import mlsrv_rest.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel, tensor_request
from mlsrv_drift.monitors import Monitors
from mlsrv_rest import create_app
from mlsrv_transport_kit import Siblings


async def test_report_and_reset(tmp_path: Path) -> None:
    fields = {"drift_enabled": True, "drift_learn": 20, "drift_window": 20}
    models = [
        ModelSettings(name="m", implementation=EchoModel, parameters={"version": "2"}, **fields),
        ModelSettings(name="plain", implementation=EchoModel),
    ]
    plugins = [mlsrv_drift.plugin, mlsrv_rest.plugin]
    settings = {"drift_dir": str(tmp_path)}
    async with Kernel(settings, models=models, plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        app = httpx.ASGITransport(create_app(kernel))
        async with httpx.AsyncClient(transport=app, base_url="http://test") as client:
            body = (await client.get("/v2/models/m/drift")).json()
            assert (body["watched"], body["drift"]) == (True, False)
            assert "no reference yet" in body["explanation"]
            for _ in range(2):
                await kernel.infer(tensor_request("m", np.arange(20.0)))
                monitor = kernel.shared.get(Monitors, Monitors).find("m", "2")
                assert monitor is not None
            while not monitor.report["parts"]["inputs"]["windows"]:
                body = (await client.get("/v2/models/m/versions/2/drift")).json()
            body = (await client.get("/v2/models/m/drift")).json()
            assert body["parts"]["inputs"]["latest"]["drift"] is False
            assert body["dropped"] == 0
            assert (await client.post("/v2/models/m/drift/reset")).status_code == 200
            while monitor.report["rows"]:
                await client.get("/v2/models/m/drift")
            assert (await client.get("/v2/models/plain/drift")).json() == {
                "model": "plain",
                "watched": False,
            }
            refused = await client.post("/v2/models/plain/drift/reset")
            assert (refused.status_code, "not watched" in refused.json()["error"]) == (400, True)
            for method, path in (("GET", "drift"), ("POST", "drift/reset")):
                found = await client.request(method, f"/v2/models/nope/{path}")
                assert found.status_code == 404
                assert "error" in found.json()


class Several(Siblings):
    """The siblings of a process that has some."""

    share_ports = True


async def test_several_processes_watch_no_model(tmp_path: Path) -> None:
    models = [ModelSettings(name="m", implementation=EchoModel, drift_enabled=True)]
    settings = {"drift_dir": str(tmp_path)}
    kernel = Kernel(settings, models=models, plugins=[mlsrv_drift.plugin], discover=False)
    kernel.shared.get(Siblings, Several)
    async with kernel:
        await kernel.loaded()
        assert "set processes to 1, or drift_enabled to false" in kernel.handle("m").reason
