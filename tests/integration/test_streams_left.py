"""Clients that leave a stream: the generator of the model is closed, wherever the model lives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest

from mlsrv import ModelSettings
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_protocol.grpc import INFERENCE, encode_request
from mlsrv_testing.contracts.running import eventually, notes
from served import Served, served

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


@asynccontextmanager
async def endless(folder: Path, **settings: Any) -> AsyncIterator[Served]:
    """A server with the model, which must have been left in the end."""
    (folder / "models.py").write_text(MODEL)
    path = folder / "model-settings.json"
    path.write_text(json.dumps({"name": "endless", "implementation": "models.Endless"}))
    async with served([ModelSettings.parse_file(path)], **settings) as found:
        yield found
        await eventually("the end of the generator", lambda: notes(folder / "notes") == ["closed"])
        instance = found.kernel.handle("endless").loaded()
        await eventually("the end of the call", lambda: instance.in_flight == 0)


@pytest.mark.parametrize("http_server", ["combined", "hypercorn", "uvicorn"])
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("size", [1, 100_000], ids=["reading", "not-reading"])
async def test_a_client_that_leaves_stops_the_generator(
    tmp_path: Path, http_server: str, workers: int, size: int
) -> None:
    body = {"inputs": [{"name": "size", "shape": [1], "datatype": "INT64", "data": [size]}]}
    async with endless(tmp_path, parallel_workers=workers, http_server=http_server) as found:
        async with httpx.AsyncClient(base_url=found.rest) as client:
            async with client.stream("POST", "/v2/models/endless/infer_stream", json=body) as answer:
                assert answer.status_code == 200
                await anext(answer.aiter_raw())


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("size", [1, 100_000], ids=["reading", "not-reading"])
async def test_a_client_that_cancels_a_grpc_stream_stops_the_generator(
    tmp_path: Path, workers: int, size: int
) -> None:
    request = InferenceRequest([RequestInput("size", [1], "INT64", [size])], model_name="endless")
    async with endless(tmp_path, parallel_workers=workers) as found:
        async with grpc.aio.insecure_channel(found.grpc) as channel:
            call = channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")()
            await call.write(encode_request(request))
            assert len(await call.read()) > size
            call.cancel()
