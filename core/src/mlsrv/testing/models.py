"""Models: tiny models for tests. Each has a dotted path, so that it runs in other processes, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from mlsrv.model import MLModel
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, ResponseOutput


def echo(request: InferenceRequest) -> InferenceResponse:
    """Return a response whose outputs are the inputs."""
    outputs = [
        ResponseOutput(name=tensor.name, shape=tensor.shape, datatype=tensor.datatype, data=tensor.data)
        for tensor in request.inputs
    ]
    return InferenceResponse(outputs=outputs)


class EchoModel(MLModel):
    """Answers with its inputs; streams each request's answer as it comes."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return echo(payload)

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            yield echo(payload)


class ThreadedEchoModel(MLModel):
    """Answers with its inputs, from a plain ``def predict``, which runs in a thread."""

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # authors may
        return echo(payload)


class SlowModel(EchoModel):
    """Answers with its inputs after ``parameters.extra.seconds`` (default 0.2) of waiting; can be
    cancelled."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.sleep(float(self.settings.parameters.extra.get("seconds", 0.2)))
        return echo(payload)


class FailingModel(MLModel):
    """Raises a `ValueError` on each request."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise ValueError("this model always fails")
