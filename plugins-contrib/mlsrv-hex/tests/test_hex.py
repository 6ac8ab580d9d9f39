"""The codec keeps the contract of all codecs, and a kernel uses it."""

import pytest

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.errors import CodecError
from mlsrv.types import InferenceRequest, InferenceResponse, MetadataTensor, Parameters, RequestInput
from mlsrv_hex import plugin
from mlsrv_hex.codec import HexCodec
from mlsrv_testing.contracts import InputCodecContract

HEX = Parameters(content_type="hex")


def tensor(*texts: str) -> RequestInput:
    return RequestInput("frames", [len(texts)], "BYTES", list(texts), HEX)


class TestHexCodec(InputCodecContract):
    codec = HexCodec
    samples = [[b"\x00\xff", b""], [b"mlsrv"]]
    garbage = [tensor("xyz"), tensor("0"), tensor("é")]


class Reverse(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        turned = [frame[::-1] for frame in self.decode(payload.inputs[0])]
        return InferenceResponse(outputs=[self.encode(turned, self.outputs[0])])


async def answer(*texts: str) -> InferenceResponse:
    turned = MetadataTensor(name="turned", datatype="BYTES", shape=[-1], parameters=HEX)
    model = ModelSettings(name="reverse", implementation=Reverse, outputs=[turned])
    async with Kernel(plugins=[plugin], models=[model], discover=False) as kernel:
        await kernel.loaded()
        return await kernel.infer(InferenceRequest(model_name="reverse", inputs=[tensor(*texts)]))


async def test_a_model_sees_bytes_and_a_client_texts() -> None:
    response = await answer("00ff", "C0 FF EE", "")
    assert response.outputs[0].dict()["data"] == ["ff00", "eeffc0", ""]


async def test_a_text_that_is_not_hexadecimal_is_the_clients_mistake() -> None:
    with pytest.raises(CodecError, match='Tensor "frames": element 1: non-hexadecimal'):
        await answer("00", "xyz")
