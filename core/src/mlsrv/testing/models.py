"""Tiny models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from mlsrv.model import MLModel
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, ResponseOutput


def _echo(request: InferenceRequest) -> InferenceResponse:
    outputs = [
        ResponseOutput(name=tensor.name, shape=tensor.shape, datatype=tensor.datatype, data=tensor.data)
        for tensor in request.inputs
    ]
    return InferenceResponse(outputs=outputs)


class EchoModel(MLModel):
    """Answers with its inputs; streams each request's answer as it comes."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return _echo(payload)

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            yield _echo(payload)


class SlowModel(EchoModel):
    """Answers with its inputs after ``parameters.extra.seconds`` (default 0.2) of waiting; can be
    cancelled."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.sleep(float(self.settings.parameters.extra.get("seconds", 0.2)))
        return _echo(payload)


class FailingModel(MLModel):
    """Raises a `ValueError` on each request."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise ValueError("this model always fails")
