"""The codec as a kernel uses it, and its contract."""

import pytest

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.errors import CodecError
from mlsrv.types import InferenceRequest, InferenceResponse, MetadataTensor, Parameters, RequestInput
from mlsrv_hex import plugin
from mlsrv_hex.codec import HexCodec

HEX = Parameters(content_type="hex")


class Reverse(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        turned = [frame[::-1] for frame in self.decode(payload.inputs[0])]
        return InferenceResponse(outputs=[self.encode(turned, self.outputs[0])])


def request(*texts: str) -> InferenceRequest:
    frames = RequestInput(
        name="frames", shape=[len(texts)], datatype="BYTES", data=list(texts), parameters=HEX
    )
    return InferenceRequest(model_name="reverse", inputs=[frames])


async def answer(asked: InferenceRequest) -> InferenceResponse:
    turned = MetadataTensor(name="turned", datatype="BYTES", shape=[-1], parameters=HEX)
    model = ModelSettings(name="reverse", implementation=Reverse, outputs=[turned])
    async with Kernel(plugins=[plugin], models=[model], discover=False) as kernel:
        await kernel.loaded()
        return await kernel.infer(asked)


async def test_a_model_sees_bytes_and_a_client_texts() -> None:
    response = await answer(request("00ff", "C0 FF EE", ""))
    (output,) = response.outputs
    assert (output.shape, output.datatype) == ([3], "BYTES")
    assert output.data == ["ff00", "eeffc0", ""]


async def test_a_text_that_is_not_hexadecimal() -> None:
    with pytest.raises(CodecError, match='input "frames"'):
        await answer(request("xyz"))


def test_round_trip() -> None:
    encoded = HexCodec.encode_output("frames", [b"\x00\xff"])
    assert HexCodec.decode_input(RequestInput(**encoded.dict())) == [b"\x00\xff"]
