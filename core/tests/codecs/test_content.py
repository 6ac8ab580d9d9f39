"""Content types: precedence of request, metadata and default, and the codecs that a model sees."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mlsrv.codecs import DecodedInput, InputCodec, RequestCodec
from mlsrv.codecs.registry import CodecRegistry
from mlsrv.errors import CodecError, CodecNotFound
from mlsrv.model import MLModel
from mlsrv.plugins.offers import CodecOffer
from mlsrv.settings import ModelSettings
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)


def input_codec(name: str, kind: type = str) -> type[InputCodec]:
    class Codec(InputCodec):
        ContentType = name

        @classmethod
        def can_encode(cls, payload: Any) -> bool:
            return isinstance(payload, kind)

        @classmethod
        def decode_input(cls, request_input: RequestInput) -> Any:
            if request_input.data == ["bad"]:
                raise ValueError("this is bad")
            return f"{name}:{request_input.data[0]}"

        @classmethod
        def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
            return ResponseOutput(name, [1], "BYTES", [f"{cls.ContentType}:{payload}"])

    return Codec


class Whole(RequestCodec):
    ContentType = "whole"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, set)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        return [(type(tensor) is DecodedInput, tensor.data) for tensor in request.inputs], request.model_name

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        return InferenceResponse(model_name, [], model_version, parameters={"n": len(payload)})


@pytest.fixture
def model() -> MLModel:
    settings = ModelSettings(
        name="m",
        inputs=[
            {"name": "declared", "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "b"}}
        ],
        outputs=[
            {"name": "declared", "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "b"}}
        ],
        parameters={"version": "v1"},
    )
    made = MLModel(settings)
    registry = CodecRegistry([("p", CodecOffer(name, input_codec(name))) for name in ("a", "b")])
    registry.add(CodecOffer("ints", input_codec("ints", int)), "p")
    registry.add(CodecOffer("whole", Whole, "request"), "p")
    made.bind(registry)
    return made


def given(name: str = "x", content_type: str | None = None, text: str = "1") -> RequestInput:
    return RequestInput(name, [1], "BYTES", [text], Parameters(content_type) if content_type else None)


DEFAULT = input_codec("default")


@pytest.mark.parametrize(
    ("tensor", "default", "found"),
    [
        (given(), None, ["1"]),
        (given(), DEFAULT, "default:1"),
        (given("declared"), DEFAULT, "b:1"),
        (given("declared", "a"), DEFAULT, "a:1"),
        (given("x", "a"), DEFAULT, "a:1"),
        (DecodedInput("x", [1], "BYTES", "done", Parameters("a")), DEFAULT, "done"),
    ],
)
def test_an_input_then_the_metadata_then_the_default(
    model: MLModel, tensor: RequestInput, default: type[InputCodec] | None, found: Any
) -> None:
    assert model.decode(tensor, default) == found


@pytest.mark.parametrize(
    ("output", "payload", "found"),
    [
        (RequestOutput("x"), "1", "a:1"),
        (RequestOutput("x"), 1, "ints:1"),
        (RequestOutput("x"), 1.5, "default:1.5"),
        (RequestOutput("declared"), 1, "b:1"),
        (RequestOutput("declared", Parameters("a")), 1, "a:1"),
    ],
)
def test_an_output_is_encoded_by_request_metadata_payload_default(
    model: MLModel, output: RequestOutput, payload: Any, found: str
) -> None:
    assert model.encode(payload, output, DEFAULT).data == [found]


def test_a_whole_request(model: MLModel) -> None:
    request = InferenceRequest([given(), given("y", "a"), given("declared")], model_name="m")
    assert model.decode_request(request).model_name == "m"
    assert [tensor.data for tensor in model.decode_request(request).inputs] == [["1"], "a:1", "b:1"]
    decoded = [(False, ["1"]), (True, "a:1"), (True, "b:1")], "m"
    assert model.decode_request(request, Whole) == decoded
    request.parameters = Parameters("whole")
    assert model.decode_request(request) == decoded
    request.parameters = None
    model.settings.parameters.content_type = "whole"
    assert model.decode_request(request) == decoded
    plain = InferenceRequest([given()])
    model.settings.parameters.content_type = None
    assert model.decode_request(plain) is plain


def test_a_whole_response(model: MLModel) -> None:
    response = model.encode_response({1, 2})
    assert (response.model_name, response.model_version) == ("m", "v1")
    assert response.parameters == Parameters(n=2)
    assert model.encode_response([1], Whole).parameters == Parameters(n=1)
    with pytest.raises(CodecNotFound, match=r"Model m, response: no codec encodes a builtins\.list"):
        model.encode_response([1])
    with pytest.raises(CodecNotFound, match=r'Model m, output "x": no codec encodes a builtins\.float'):
        model.encode(1.5, RequestOutput("x"))


def test_unknown_content_types_list_the_known_ones(model: MLModel) -> None:
    with pytest.raises(
        CodecNotFound, match=r'input "x": unknown content type "nope"; known are a, b, ints\.'
    ):
        model.decode(given("x", "nope"))
    with pytest.raises(
        CodecNotFound, match=r'input "x": unknown content type "whole"; known are a, b, ints\.'
    ):
        model.decode_request(InferenceRequest([given("x", "whole")]))
    with pytest.raises(CodecNotFound, match=r'request: unknown content type "a"; known are whole\.'):
        model.decode_request(InferenceRequest([given()], parameters={"content_type": "a"}))
    with pytest.raises(CodecNotFound, match=r'output "x": unknown content type "nope"'):
        model.encode("1", RequestOutput("x", Parameters("nope")))


def test_the_plugin_that_has_a_missing_codec_is_named(
    model: MLModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlsrv_pandas", None)
    hint = r" The codec is in the plugin mlsrv-pandas \(pip install mlsrv-pandas\)\.$"
    with pytest.raises(CodecNotFound, match=f"known are whole\\.{hint}"):
        model.decode_request(InferenceRequest([given()], parameters={"content_type": "pd"}))
    frame = type("DataFrame", (), {"__module__": "pandas.core.frame"})()
    with pytest.raises(CodecNotFound, match=f"name a content type for it\\.{hint}"):
        model.encode_response(frame)


def test_a_value_error_of_a_codec_is_the_clients_fault(model: MLModel) -> None:
    sentence = 'input "x": not valid for the content type "a": this is bad'
    with pytest.raises(CodecError, match=sentence):
        model.decode(given("x", "a", "bad"))
    with pytest.raises(CodecError, match=sentence):
        model.decode_request(InferenceRequest([given("x", "a", "bad")]))


def test_a_decoded_payload_from_a_client_is_ignored(model: MLModel) -> None:
    tensor = RequestInput("x", [1], "BYTES", ["1"], {"content_type": "a", "_decoded_payload": "injected"})
    request = InferenceRequest([tensor], parameters={"_decoded_payload": "injected", "content_type": "whole"})
    assert model.decode(tensor) == "a:1"
    assert model.decode_request(request) == ([(True, "a:1")], "")
