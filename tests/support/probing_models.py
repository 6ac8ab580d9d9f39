"""Models that tests load in workers too: their module has a name that a worker can import."""

from __future__ import annotations

import time

from mlsrv import MLModel
from mlsrv.context import current_context
from mlsrv.handlers import custom_handler
from mlsrv.testing import EchoModel
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput

MANY = 2**20
"""Texts that `Echo.texts` answers."""


class Curious(EchoModel):
    """Tells all that it sees of a request's headers."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        assert payload.parameters is not None
        return InferenceResponse(
            outputs=[], parameters=Parameters(seen=self.seen(payload.parameters.headers))
        )

    def seen(self, *more: object) -> str:
        context = current_context.get()
        assert context is not None
        return repr((dict(context.headers), *more))

    @custom_handler(rest_path="/look")
    async def look(self, headers: dict[str, str]) -> str:
        return self.seen(headers)


class Echo(MLModel):
    """Answers the inputs, in the thread of its own loop."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = [
            ResponseOutput(name=one.name, shape=one.shape, datatype=one.datatype, data=one.data)
            for one in payload.inputs
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)

    @custom_handler("/texts")
    async def texts(self, body: bytes) -> list[str]:
        return ["ab"] * MANY


class Learning(MLModel):
    """Counts the calls of its handler, and answers how many there were."""

    calls = 0

    @custom_handler("/learn")
    async def learn(self) -> int:
        self.calls += 1
        return self.calls

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # sync
        time.sleep(0.02)
        return InferenceResponse(outputs=[ResponseOutput("calls", [1], "INT64", [self.calls])])
