"""Servers with every way in, and scrapes of them that are parsed by Prometheus's own parser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from attrs import frozen
from prometheus_client.parser import text_string_to_metric_families

import mlsrv_batching.plugin
import mlsrv_cache.plugin
import mlsrv_drift.plugin
import mlsrv_grpc.plugin
import mlsrv_kafka.plugin
import mlsrv_prometheus.plugin
import mlsrv_rest.plugin
import mlsrv_workers.plugin
from mlsrv import Kernel, ModelParameters, ModelSettings
from mlsrv.types import InferenceRequest
from mlsrv_protocol import json
from mlsrv_protocol.grpc import INFERENCE, encode_request

PLUGINS = (
    mlsrv_batching.plugin,
    mlsrv_cache.plugin,
    mlsrv_drift.plugin,
    mlsrv_grpc.plugin,
    mlsrv_kafka.plugin,
    mlsrv_prometheus.plugin,
    mlsrv_rest.plugin,
    mlsrv_workers.plugin,
)
SECONDS = 30

MODELS = '''
import os, signal, time
import mlsrv
from mlsrv.types import InferenceResponse, ResponseOutput

class Measured(mlsrv.MLModel):
    """Decodes and encodes; its first value says what else it does."""
    def load(self):
        mlsrv.register("orders", "Orders seen.", kind="counter")
        mlsrv.register("price", "Prices seen.", buckets=(1, 10, 100))
        mlsrv.register("stock", "What is left.", kind="gauge")
        return True
    def predict(self, payload):
        value = float(self.decode(payload.inputs[0]).reshape(-1)[0])
        if value == -1:
            raise ValueError("no")
        if value == -2:
            os.kill(os.getpid(), signal.SIGKILL)
        mlsrv.log(orders=1, price=value, stock=-value, surprise=2.5)
        tensor = payload.inputs[0]
        return InferenceResponse(outputs=[ResponseOutput("y", tensor.shape, tensor.datatype, tensor.data)])

class Clashing(mlsrv.MLModel):
    """Registers what it is told."""
    def load(self):
        mlsrv.register(**self.settings.parameters.extra["metric"])
        return True
'''


class Scrape:
    """What one scrape says: samples by name, each with its labels as a dict."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of a name whose labels are at least these."""
        return sum(value for _, value in self.series(name, **labels))

    def series(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """The samples of a name whose labels are at least these."""
        return [
            (sample.labels, sample.value)
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]


@frozen
class Served:
    """A kernel that serves on ports of the loopback interface, and its clients."""

    kernel: Kernel
    client: httpx.AsyncClient
    channel: grpc.aio.Channel

    @property
    def rest(self) -> str:
        return self.kernel.transports["rest"].endpoints[0]

    @property
    def metrics(self) -> str:
        return self.kernel.transports["prometheus"].endpoints[0]

    async def scrape(self) -> Scrape:
        """The metrics now."""
        answer = await self.client.get(self.metrics)
        assert answer.status_code == 200
        return Scrape(answer.text)

    async def post(self, request: InferenceRequest, version: str | None = None) -> int:
        """Ask over REST. Returns the status."""
        middle = "" if version is None else f"/versions/{version}"
        url = f"{self.rest}/v2/models/{request.model_name}{middle}/infer"
        return (await self.client.post(url, content=json.encode_request(request))).status_code

    async def call(self, request: InferenceRequest, timeout: float = SECONDS) -> str:
        """Ask over gRPC. Returns the name of the code."""
        infer = self.channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        try:
            await infer(encode_request(request), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"


@asynccontextmanager
async def serve(
    *models: ModelSettings, plugins: Sequence[object] = PLUGINS, **settings: Any
) -> AsyncIterator[Served]:
    """Serve some models, in this process unless the settings say otherwise."""
    ports = dict.fromkeys(("http_port", "grpc_port", "metrics_port"), 0)
    values = {"host": "127.0.0.1", "parallel_workers": 0, "shutdown_timeout": 5.0} | ports | settings
    stop, listening = asyncio.Event(), asyncio.Event()
    async with Kernel(values, plugins=plugins, models=models, discover=False) as kernel:
        await kernel.loaded()
        serving = asyncio.create_task(kernel.serve(stop.wait, listening.set))
        opened = asyncio.create_task(listening.wait())
        await asyncio.wait({serving, opened}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        try:
            if serving.done():
                await serving
            address = kernel.transports["grpc"].endpoints[0].partition("://")[2]
            async with (
                httpx.AsyncClient(timeout=SECONDS) as client,
                grpc.aio.insecure_channel(address) as channel,
            ):
                yield Served(kernel, client, channel)
        finally:
            stop.set()
            opened.cancel()
            await asyncio.wait({serving})


@pytest.fixture(name="serve")
def _serve() -> Any:
    return serve


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """Makes settings of a model of `MODELS`; keywords go to ``extra``."""

    def make(
        cls: str = "Measured", name: str = "m", fields: Any = None, version: str | None = None, **extra: Any
    ) -> Any:
        (tmp_path / "models.py").write_text(MODELS, encoding="utf-8")
        return ModelSettings(
            name=name,
            implementation=f"models.{cls}",
            parameters=ModelParameters(version=version, extra=extra),
            source=tmp_path / "model-settings.json",
            **(fields or {}),
        )

    return make
