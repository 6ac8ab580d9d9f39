"""The plugin as the kernel sees it."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import mlsrv
import mlsrv_text.plugin
from mlsrv.errors import CodecError
from mlsrv.types import InferenceRequest, InferenceResponse, RequestInput, RequestOutput


class Decoder(mlsrv.MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (given,) = payload.inputs
        found: Any = self.decode(given)
        return InferenceResponse(outputs=[self.encode(found, RequestOutput(name="found"))])


async def answer(content_type: str, *texts: str) -> dict[str, Any]:
    settings = mlsrv.ModelSettings(name="m", implementation=Decoder)
    async with mlsrv.Kernel(models=[settings], plugins=[mlsrv_text.plugin], discover=False) as kernel:
        await kernel.loaded()
        given = RequestInput("x", [len(texts)], "BYTES", list(texts), {"content_type": content_type})
        response = await kernel.infer(InferenceRequest([given], model_name="m"))
        found: dict[str, Any] = response.outputs[0].dict()
        return found


@pytest.mark.parametrize(
    ("content_type", "texts"),
    [("str", ["a", "b"]), ("base64", ["YQ==", "Yg=="]), ("datetime", ["2022-01-11T11:00:00"])],
)
async def test_a_model_decodes_and_encodes_by_content_type(content_type: str, texts: list[str]) -> None:
    assert await answer(content_type, *texts) == {
        "name": "found",
        "shape": [len(texts), 1],
        "datatype": "BYTES",
        "parameters": {"content_type": content_type},
        "data": texts,
    }


async def test_an_unknown_content_type_lists_the_known_ones() -> None:
    with pytest.raises(mlsrv.errors.CodecNotFound, match=r'"hex"; known are base64, datetime, str\.'):
        await answer("hex", "00")


async def test_invalid_data_is_a_client_error() -> None:
    with pytest.raises(CodecError, match="element 0: not base64"):
        await answer("base64", "%")


def test_the_public_names() -> None:
    for name in mlsrv_text.__all__:
        assert getattr(mlsrv_text, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = mlsrv_text.Nonsense
    assert datetime.datetime in (mlsrv_text.DatetimeCodec.Element)
