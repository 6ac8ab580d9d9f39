"""Models for servers that come to harm."""

import asyncio
import os

import numpy as np

from mlsrv import MLModel
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput


class Steady(MLModel):
    """Answers with its input and the process id, after ``extra.seconds``; raises for ids that begin with
    ``fail``."""

    async def load(self) -> bool:
        self._seconds = float(self.settings.parameters.extra.get("seconds", 0))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        if (payload.id or "").startswith("fail"):
            raise RuntimeError("this one always fails")
        if self._seconds:
            await asyncio.sleep(self._seconds)
        [tensor] = payload.inputs
        pid = ResponseOutput("pid", [1], "INT64", np.array([os.getpid()]))
        same = ResponseOutput(tensor.name, tensor.shape, tensor.datatype, tensor.data)
        return InferenceResponse(outputs=[same, pid])
