"""Details of errors over REST and gRPC, of models in a worker process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import mlsrv_grpc.plugin
import mlsrv_rest.plugin
import mlsrv_workers.plugin
from mlsrv import ModelSettings
from mlsrv.testing import make_kernel
from mlsrv_protocol.client import AsyncClient, ServerError

SECRET = "postgres://user:s3cret@db/models"
PLUGINS = [mlsrv_rest.plugin, mlsrv_grpc.plugin, mlsrv_workers.plugin]


CODE = f"""
from mlsrv import MLModel

class Leaking(MLModel):
    async def predict(self, payload):
        raise RuntimeError({SECRET!r})

class Unloadable(MLModel):
    async def load(self):
        raise OSError({SECRET!r})
"""


def models(folder: Path) -> list[ModelSettings]:
    """Return a model whose requests fail and one whose load fails, with a password in the texts."""
    (folder / "models.py").write_text(CODE)
    source = folder / "model-settings.json"
    return [
        ModelSettings(name="leaking", implementation="models.Leaking", source=source),
        ModelSettings(name="unloadable", implementation="models.Unloadable", source=source),
    ]


async def texts_of(url: str) -> list[str]:
    """Return what a client is told by a request, a load and the index."""
    texts = []
    async with AsyncClient(url) as client:
        with pytest.raises(ServerError) as caught:
            await client.infer("leaking", {"x": np.array([[1.0]])})
        texts.append(str(caught.value))
        with pytest.raises(ServerError) as caught:
            await client.load("unloadable")
        texts.append(str(caught.value))
        texts += [item.reason for item in await client.index() if item.name == "unloadable"]
    return texts


async def served_texts(folder: Path, **settings: Any) -> list[str]:
    async with make_kernel(*models(folder), plugins=PLUGINS, parallel_workers=1, **settings) as kernel:
        await kernel.loaded()
        stop = asyncio.Event()
        started = asyncio.Event()
        serving = asyncio.create_task(kernel.serve(stop.wait, started.set))
        try:
            await asyncio.wait_for(started.wait(), 20)
            urls = [url for transport in kernel.transports.values() for url in transport.endpoints]
            texts = [text for url in urls for text in await texts_of(url)]
            rest = next(url for url in urls if url.startswith("http"))
            async with httpx.AsyncClient(base_url=rest) as client:
                for path in ("/v2/health/ready", "/v2/models/unloadable/ready"):
                    answer = await client.get(path)
                    assert answer.status_code == 503
                    texts.append(answer.json()["error"])
        finally:
            stop.set()
            await serving
    assert len(texts) == 2 * 3 + 2
    return texts


async def test_clients_of_the_same_machine_are_told_the_text(tmp_path: Path) -> None:
    assert all(SECRET in text for text in await served_texts(tmp_path))


async def test_clients_are_told_the_class_alone(tmp_path: Path) -> None:
    texts = await served_texts(tmp_path, error_details="class")
    assert not any("s3cret" in text for text in texts)
    assert all("RuntimeError" in text or "OSError" in text for text in texts)
