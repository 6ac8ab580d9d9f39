"""Twenty megabytes each way, with the limits as they are by default."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from mlsrv import ModelSettings
from mlsrv.testing import EchoModel
from mlsrv_protocol.client import Client
from served import served

MEBIBYTES = 20
# Few digits, so that the JSON text has as many bytes as the numbers.
TENSOR = np.random.default_rng(0).integers(0, 10, (5, 2**20)).astype(np.float32)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("wire", ["json", "binary", "grpc"])
async def test_twenty_megabytes_each_way(wire: str, workers: int) -> None:
    assert TENSOR.nbytes == MEBIBYTES * 2**20
    models = [ModelSettings(name="echo", implementation=EchoModel)]
    async with served(models, parallel_workers=workers) as found:
        url = f"grpc://{found.grpc}" if wire == "grpc" else found.rest

        def ask() -> np.ndarray:
            with Client(url, timeout=60, retries=0) as client:
                return client.infer("echo", {"x": TENSOR}, as_json=wire == "json")["x"]

        async with asyncio.timeout(90):
            answer = await asyncio.to_thread(ask)
        assert answer.dtype == TENSOR.dtype
        assert np.array_equal(answer, TENSOR)
