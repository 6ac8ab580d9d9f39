"""The plugin as the kernel sees it."""

from __future__ import annotations

import numpy as np
import pytest

import mlsrv.codecs
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, InferenceResponse, RequestOutput
from mlsrv_numpy import NumpyCodec, NumpyRequestCodec, plugin


class Doubling(MLModel):
    """Doubles its input by the codecs of its kernel."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        doubled = 2 * self.decode_request(payload, self.codecs.request_codec("np"))
        if payload.outputs is None:
            return self.encode_response(doubled)
        return InferenceResponse(outputs=[self.encode(doubled, output) for output in payload.outputs])


@pytest.fixture
async def kernel() -> Kernel:
    model = ModelSettings(name="doubling", implementation=Doubling)
    return Kernel(models=[model], plugins=[plugin], discover=False)


async def test_a_model_decodes_and_encodes_by_content_type_and_by_payload(kernel: Kernel) -> None:
    async with kernel:
        await kernel.loaded()
        request = tensor_request("doubling", np.array([[1.5, 2.5]]))
        whole = await kernel.infer(request)
        assert [output.name for output in whole.outputs] == ["output-1"]
        assert NumpyRequestCodec.decode_response(whole).tolist() == [[3.0, 5.0]]
        request.outputs = [RequestOutput("y")]
        single = await kernel.infer(request)
        assert [output.name for output in single.outputs] == ["y"]
        assert NumpyCodec.decode_output(single.outputs[0]).tolist() == [[3.0, 5.0]]


def test_the_specification_s_names_lead_here() -> None:
    assert mlsrv.codecs.NumpyCodec is NumpyCodec
    assert mlsrv.codecs.NumpyRequestCodec is NumpyRequestCodec
