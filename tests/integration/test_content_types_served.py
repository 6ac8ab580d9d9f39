"""Content types in a custom model of a folder, over every way in, with the model here and in a worker
process."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from mlsrv.codecs import Base64Codec, DatetimeCodec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlsrv.codecs.string import StringRequestCodec
from mlsrv.types import InferenceRequest
from payloads import arrays, assert_same_frame, frames, lists_of_bytes, lists_of_dates, lists_of_texts
from served import WIRES, Served, served

MODELS = """
import joblib
import numpy as np
from pathlib import Path

from mlsrv import MLModel
from mlsrv.codecs import InputCodec, NumpyRequestCodec, decode_args, register_input_codec
from mlsrv.types import InferenceResponse, RequestOutput, ResponseOutput


@register_input_codec
class HexCodec(InputCodec):
    ContentType = "hex"
    TypeHint = bytearray

    @classmethod
    def decode_input(cls, request_input):
        return bytearray().join(bytes.fromhex(text if isinstance(text, str) else text.decode())
                                for text in request_input.data)

    @classmethod
    def encode_output(cls, name, payload, **kwargs):
        return ResponseOutput(name, [1], "BYTES", [payload.hex()], {"content_type": "hex"})


class Whole(MLModel):
    async def predict(self, payload):
        return self.encode_response(self.decode_request(payload, default_codec=NumpyRequestCodec))


class Each(MLModel):
    async def predict(self, payload):
        outputs = [self.encode(self.decode(tensor), RequestOutput(tensor.name)) for tensor in payload.inputs]
        return InferenceResponse(outputs=outputs)


class Decoded(MLModel):
    async def predict(self, payload):
        outputs = []
        for tensor in payload.inputs:
            asked = RequestOutput(tensor.name, {"content_type": tensor.parameters.content_type})
            outputs.append(self.encode(self.decode(tensor), asked))  # an empty list tells no content type
        return InferenceResponse(outputs=outputs)


class Arguments(MLModel):
    def load(self):
        self.scale = joblib.load(Path(__file__).parent / "scale")
        return True

    @decode_args
    def predict(self, x: np.ndarray, code: bytearray, names: list[str] | None = None) -> tuple[np.ndarray,
    bytearray]:
        return self.scale(x), code + bytearray(len(names or []))
"""
SCALING = """
class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor
"""


@pytest.fixture(params=[0, 1], ids=["here", "worker"])
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    for name in ("Whole", "Each", "Decoded", "Arguments"):
        folder = tmp_path / "models" / name.lower()
        folder.mkdir(parents=True)
        (folder / "model-settings.json").write_text(
            json.dumps({"name": name.lower(), "implementation": f"models.{name}"})
        )
        (folder / "models.py").write_text(MODELS)
        (folder / "scaling_of_this_folder.py").write_text(SCALING)
        with monkeypatch.context() as training:
            training.syspath_prepend(folder)
            training.setattr(sys, "dont_write_bytecode", True)
            training.delitem(sys.modules, "scaling_of_this_folder", raising=False)
            import scaling_of_this_folder  # type: ignore[import-not-found]

            joblib.dump(scaling_of_this_folder.Scale(3.0), folder / "scale")
            training.delitem(sys.modules, "scaling_of_this_folder")
    repository = str(tmp_path / "models")
    async with served([], model_repository_root=repository, parallel_workers=request.param) as found:
        assert found.kernel.problems() == []
        yield found


def a_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "text": ["a", "é", ""],
            "gaps": pd.array([1, None, 3], dtype="Int64"),
            "kind": pd.Categorical(["x", None, "y"], ["y", "x"]),
            "when": pd.to_datetime(["2020-01-01", "2021-06-01", "2022-12-31"]).tz_localize("Europe/Berlin"),
            "object": [{"a": [1, None]}, [], None],
            "real": np.array([1.5, np.nan, -np.inf], np.float32),
        }
    )


async def ask(server: Served, wire: str, model: str, request: InferenceRequest) -> Any:
    request.model_name = model
    return await server.infer(wire, request)


@pytest.mark.parametrize("wire", WIRES)
async def test_whole_requests(server: Served, wire: str) -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    plain = InferenceRequest([NumpyCodec.encode_input("x", array)])
    for request in (plain, NumpyRequestCodec.encode_request(array)):
        response = await ask(server, wire, "whole", request)
        np.testing.assert_array_equal(NumpyRequestCodec.decode_response(response), array)
    response = await ask(server, wire, "whole", StringRequestCodec.encode_request(["a", "é"]))
    assert StringRequestCodec.decode_response(response) == ["a", "é"]
    response = await ask(server, wire, "whole", PandasCodec.encode_request(a_frame()))
    pd.testing.assert_frame_equal(PandasCodec.decode_response(response), a_frame())


@pytest.mark.parametrize("wire", WIRES)
async def test_each_input_by_itself(server: Served, wire: str) -> None:
    payloads: list[tuple[Any, Any]] = [
        (NumpyCodec, np.array([[0.5, -1.0]])),
        (StringCodec, ["a", "b"]),
        (Base64Codec, [b"\xff", b""]),
        (DatetimeCodec, [datetime(2022, 1, 11, 11)]),
    ]
    inputs = [codec.encode_input(f"x{number}", value) for number, (codec, value) in enumerate(payloads)]
    response = await ask(server, wire, "each", InferenceRequest(inputs))
    assert [output.parameters.content_type for output in response.outputs if output.parameters] == [
        codec.ContentType for codec, _ in payloads
    ]
    for (codec, value), output in zip(payloads, response.outputs, strict=True):
        np.testing.assert_array_equal(codec.decode_output(output), value)


few = settings(
    deadline=None,
    max_examples=8,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("wire", WIRES)
@few
@given(array=arrays, texts=lists_of_texts, raw=lists_of_bytes, dates=lists_of_dates)
async def test_whatever_the_inputs_are(
    server: Served, wire: str, array: Any, texts: list[str], raw: list[bytes], dates: list[datetime]
) -> None:
    sent = {
        "array": NumpyCodec.encode_input("array", array),
        "texts": StringCodec.encode_input("texts", texts),
        "raw": Base64Codec.encode_input("raw", raw),
        "dates": DatetimeCodec.encode_input("dates", dates),
    }
    response = await ask(server, wire, "decoded", InferenceRequest(list(sent.values())))
    found = {output.name: output for output in response.outputs}
    np.testing.assert_array_equal(NumpyCodec.decode_output(found["array"]), array)
    assert StringCodec.decode_output(found["texts"]) == texts
    assert Base64Codec.decode_output(found["raw"]) == raw
    decoded = DatetimeCodec.decode_output(found["dates"])
    assert [date.isoformat() for date in decoded] == [date.isoformat() for date in dates]


@pytest.mark.parametrize("wire", WIRES)
@few
@given(frame=frames())
async def test_whatever_the_frame_is(server: Served, wire: str, frame: pd.DataFrame) -> None:
    response = await ask(server, wire, "whole", PandasCodec.encode_request(frame))
    assert_same_frame(PandasCodec.decode_response(response), frame)


@pytest.mark.parametrize("wire", WIRES)
async def test_arguments_a_codec_and_an_artifact_of_the_folder(server: Served, wire: str) -> None:
    inputs = [
        NumpyCodec.encode_input("x", np.array([[1.0, 2.0]])),
        StringCodec.encode_input("code", ["00ff"]),
        StringCodec.encode_input("names", ["a", "b"]),
    ]
    response = await ask(server, wire, "arguments", InferenceRequest(inputs))
    scaled, code = response.outputs
    assert NumpyCodec.decode_output(scaled).tolist() == [[3.0, 6.0]]
    assert StringCodec.decode_output(code) == ["00ff0000"]
