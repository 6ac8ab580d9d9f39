"""Clients that leave a stream: the generator of the model is closed, wherever the model lives."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from mlsrv import ModelSettings
from mlsrv.testing.contracts.running import eventually, notes
from served import served

MODEL = """
import asyncio
from pathlib import Path

from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

NOTES = Path(__file__).with_name("notes")


class Endless(MLModel):
    async def predict_stream(self, payloads):
        try:
            async for payload in payloads:
                size = int(payload.inputs[0].data[0])
                while True:
                    yield InferenceResponse(outputs=[ResponseOutput("x", [1], "BYTES", ["." * size])])
                    await asyncio.sleep(0.001)
        finally:
            NOTES.write_text("closed")
"""


@pytest.mark.parametrize("http_server", ["hypercorn", "uvicorn"])
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("size", [1, 100_000], ids=["reading", "not-reading"])
async def test_a_client_that_leaves_stops_the_generator(
    tmp_path: Path, http_server: str, workers: int, size: int
) -> None:
    (tmp_path / "models.py").write_text(MODEL)
    settings = tmp_path / "model-settings.json"
    settings.write_text(json.dumps({"name": "endless", "implementation": "models.Endless"}))
    models = [ModelSettings.parse_file(settings)]
    body = {"inputs": [{"name": "size", "shape": [1], "datatype": "INT64", "data": [size]}]}
    async with served(models, parallel_workers=workers, http_server=http_server) as found:
        async with httpx.AsyncClient(base_url=found.rest) as client:
            async with client.stream("POST", "/v2/models/endless/infer_stream", json=body) as answer:
                assert answer.status_code == 200
                await anext(answer.aiter_raw())
        await eventually("the end of the generator", lambda: notes(tmp_path / "notes") == ["closed"])
        instance = found.kernel.handle("endless").loaded()
        await eventually("the end of the call", lambda: instance.in_flight == 0)
