"""Serves tiny models (all, or those that are named) over every transport, until it is told to end:
python serve.py [NAME …]"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.testing import EchoModel, FailingModel
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput


class Counting(MLModel):
    """Streams numbers up to the one in the input."""

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for number in range(int(payload.inputs[0].data[0])):
                output = ResponseOutput(name="n", shape=[1], datatype="INT64", data=[number])
                yield InferenceResponse(outputs=[output])


class Waiting(MLModel):
    """Never answers; the model "waited" says how often it was given up."""

    given_up = 0

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            Waiting.given_up += 1
            raise


class Waited(MLModel):
    """How often "waiting" was given up."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        count = ResponseOutput(name="count", shape=[1], datatype="INT64", data=[Waiting.given_up])
        return InferenceResponse(outputs=[count])


MODELS = [
    ModelSettings(name="echo", implementation=EchoModel),
    ModelSettings(name="versioned", implementation=EchoModel, parameters={"version": "v1"}),
    ModelSettings(name="versioned", implementation=EchoModel, parameters={"version": "v2"}),
    ModelSettings(
        name="declared",
        implementation=EchoModel,
        platform="p",
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        outputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    ),
    ModelSettings(name="failing", implementation=FailingModel),
    ModelSettings(name="counting", implementation=Counting),
    ModelSettings(name="waiting", implementation=Waiting),
    ModelSettings(name="waited", implementation=Waited),
]


async def main() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    settings = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_port": 0, "executor": "inline"}
    chosen = [model for model in MODELS if model.name in (sys.argv[1:] or [model.name])]
    async with Kernel(settings, models=chosen) as kernel:
        await kernel.loaded()
        await kernel.serve(ended.wait, lambda: tell(kernel))


def tell(kernel: Kernel) -> None:
    for name, transport in kernel.transports.items():
        for endpoint in transport.endpoints:
            print(name, endpoint.partition("://")[2])
    print(flush=True)


if __name__ == "__main__":
    asyncio.run(main())
