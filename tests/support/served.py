"""Models that tests serve: in this process, and over every way in with and without worker processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from mlsrv import Kernel, ModelSettings
from mlsrv.codecs import NumpyCodec
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, InferenceResponse, RequestOutput
from mlsrv_protocol import binary, json

HEADER = "Inference-Header-Content-Length"
SECONDS = 30
LOADING = 90
"""Seconds for a model to load, in a process that imports its framework first."""

WIRES = ("json", "binary", "grpc")


def model(artifact: Path | str, implementation: Any, extra: Any = None, **settings: Any) -> ModelSettings:
    """Settings of the model "m" of an artifact."""
    parameters = {"uri": str(artifact), "extra": extra or {}} | settings.pop("parameters", {})
    return ModelSettings(name="m", implementation=implementation, parameters=parameters, **settings)


@asynccontextmanager
async def kernel_of(settings: ModelSettings) -> AsyncIterator[Kernel]:
    """A kernel in this process that has loaded the model, or failed to."""
    async with Kernel({"executor": "inline"}, models=[settings]) as kernel:
        await kernel.loaded()
        yield kernel


async def reason(settings: ModelSettings) -> str:
    """Why a model cannot be loaded, as the repository index tells it."""
    async with kernel_of(settings) as kernel:
        assert not kernel.ready
        [item] = await kernel.index()
        assert item.state == "UNAVAILABLE"
        assert "\n" not in item.reason
        return item.reason


def asking(values: Any, *outputs: str) -> InferenceRequest:
    """A request to the model "m", with an array or as it is."""
    request = values if isinstance(values, InferenceRequest) else tensor_request("m", values)
    request.model_name = "m"
    request.outputs = [RequestOutput(name) for name in outputs] or None
    return request


async def ask(kernel: Kernel, values: Any, *outputs: str) -> dict[str, Any]:
    """The decoded outputs by name."""
    response = await kernel.infer(asking(values, *outputs))
    return {output.name: NumpyCodec.decode_output(output) for output in response.outputs}


@frozen
class Served:
    """A kernel that is served on ports of the loopback interface."""

    kernel: Kernel
    rest: str
    grpc: str

    async def infer(self, wire: str, request: InferenceRequest) -> InferenceResponse:
        """One request, over one of `WIRES`."""
        if wire == "grpc":
            return await asyncio.to_thread(self._grpc, request)
        return await asyncio.to_thread(self._rest, request, wire == "binary")

    def _rest(self, request: InferenceRequest, is_binary: bool) -> InferenceResponse:
        import httpx

        url = f"{self.rest}/v2/models/{request.model_name}/infer"
        if not is_binary:
            answer = httpx.post(url, content=json.encode_request(request), timeout=SECONDS)
            assert answer.status_code == 200, answer.text
            return json.decode_response(answer.content)
        length, pieces = binary.encode_request(request)
        answer = httpx.post(url, content=b"".join(pieces), headers={HEADER: str(length)}, timeout=SECONDS)
        assert answer.status_code == 200, answer.text
        return binary.decode_response(answer.content, int(answer.headers[HEADER]))

    def _grpc(self, request: InferenceRequest) -> InferenceResponse:
        import grpc

        from mlsrv_protocol.grpc import INFERENCE, decode_response, encode_request

        sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self.grpc, options=sizes) as channel:
            call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
            return decode_response(call(encode_request(request), timeout=SECONDS))


@asynccontextmanager
async def served(models: Sequence[ModelSettings], **settings: Any) -> AsyncIterator[Served]:
    """A kernel with every installed plugin, served over REST and gRPC."""
    values = {
        "host": "127.0.0.1",
        "http_port": 0,
        "grpc_port": 0,
        "metrics_port": 0,
        "shutdown_timeout": 5.0,
    } | settings
    stop, listening = asyncio.Event(), asyncio.Event()
    async with Kernel(values, models=models) as kernel:
        await asyncio.wait_for(kernel.loaded(), LOADING)
        serving = asyncio.create_task(kernel.serve(stop.wait, listening.set))
        ready = asyncio.create_task(listening.wait())
        await asyncio.wait([serving, ready], timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        try:
            if serving.done():
                serving.result()
            addresses = {name: found.endpoints[0] for name, found in kernel.transports.items()}
            yield Served(kernel, addresses["rest"], addresses["grpc"].partition("://")[2])
        finally:
            stop.set()
            ready.cancel()
            await serving


async def assert_same_over_every_wire(
    settings: ModelSettings, workers: int, values: Any, expected: dict[str, Any]
) -> None:
    """Serve a model and compare its outputs, to the last bit, for all rows and for each alone."""
    async with served([settings], parallel_workers=workers) as found:
        assert found.kernel.problems() == []
        for wire in WIRES:
            for rows in (slice(None), slice(0, 1), slice(1, 2)):
                response = await found.infer(wire, asking(values[rows], *expected))
                assert [output.name for output in response.outputs] == list(expected)
                for output in response.outputs:
                    wanted = np.asarray(expected[output.name])[rows]
                    wanted = wanted.reshape(len(wanted), -1)
                    assert_identical(NumpyCodec.decode_output(output), wanted)


def assert_identical(found: Any, wanted: Any) -> None:
    """The same shape, and the same elements to the last bit; texts may be `str` or `bytes`."""
    assert found.shape == wanted.shape
    if found.dtype == object:
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in found.ravel()]
        assert texts == [str(text) for text in wanted.ravel()]
    else:
        np.testing.assert_array_equal(found, wanted)
