"""MLServer 1.5's manual, section 10.4, with the package name replaced: the names and parameters of the Python
API."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mlsrv
from mlsrv import codecs, types


@pytest.mark.parametrize("name", ["load", "predict", "unload"])
def test_the_methods_of_a_model(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(mlsrv.MLModel, name))


def test_the_properties_of_a_model() -> None:
    settings = mlsrv.ModelSettings(
        name="m", inputs=[{"name": "x", "datatype": "FP32", "shape": [-1]}], parameters={"version": "v1"}
    )
    model = mlsrv.MLModel(settings)
    assert (model.name, model.version, model.settings) == ("m", "v1", settings)
    assert [tensor.name for tensor in model.inputs] == ["x"]
    assert model.outputs == []
    model.outputs = [types.MetadataTensor(name="y", datatype="FP32", shape=[-1])]
    assert [tensor.name for tensor in model.outputs] == ["y"]


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("decode", ["request_input", "default_codec"]),
        ("decode_request", ["inference_request", "default_codec"]),
        ("encode_response", ["payload", "default_codec"]),
        ("encode", ["payload", "request_output", "default_codec"]),
    ],
)
def test_the_helpers_of_a_model(method: str, parameters: list[str]) -> None:
    _, *found = inspect.signature(getattr(mlsrv.MLModel, method)).parameters.values()
    assert [parameter.name for parameter in found] == parameters
    assert found[-1].default is None


TYPES: dict[str, list[str]] = {
    "InferenceErrorResponse": ["error"],
    "InferenceRequest": ["id", "parameters", "inputs", "outputs"],
    "InferenceResponse": ["model_name", "model_version", "id", "parameters", "outputs"],
    "MetadataModelResponse": ["name", "versions", "platform", "inputs", "outputs", "parameters"],
    "MetadataServerResponse": ["name", "version", "extensions"],
    "MetadataTensor": ["name", "datatype", "shape", "parameters"],
    "RepositoryIndexRequest": ["ready"],
    "RepositoryIndexResponseItem": ["name", "version", "state", "reason"],
    "RequestInput": ["name", "shape", "datatype", "parameters", "data"],
    "RequestOutput": ["name", "parameters"],
    "ResponseOutput": ["name", "shape", "datatype", "parameters", "data"],
}


@pytest.mark.parametrize("name", TYPES)
def test_the_fields_of_the_types(name: str) -> None:
    assert set(TYPES[name]) <= inspect.signature(getattr(types, name)).parameters.keys()


def test_parameters_take_any_key() -> None:
    found = types.Parameters(content_type="np", headers={"a": "b"}, anything=1)
    assert (found.content_type, found.headers, found.anything) == ("np", {"a": "b"}, 1)


def test_types_to_and_from_json() -> None:
    tensor = types.RequestInput(name="x", shape=[1], datatype="INT32", data=[1])
    request = types.InferenceRequest(inputs=[tensor], id="1")
    plain = {"id": "1", "inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]}
    assert request.dict() == json.loads(request.json()) == plain
    for again in (
        types.InferenceRequest(**plain),
        types.InferenceRequest.parse_obj(plain),
        types.InferenceRequest.parse_raw(request.json()),
    ):
        assert again == request


INPUT = {"decode_input": ["request_input"], "decode_output": ["response_output"], "can_encode": ["payload"]}
CODED = ["name", "payload"]


@pytest.mark.parametrize("codec", ["InputCodec", "NumpyCodec", "StringCodec", "Base64Codec", "DatetimeCodec"])
def test_input_codecs(codec: str) -> None:
    cls = getattr(codecs, codec)
    for method, parameters in INPUT.items():
        assert list(inspect.signature(getattr(cls, method)).parameters) == parameters
    for method in ("encode_input", "encode_output"):
        found = inspect.signature(getattr(cls, method)).parameters
        assert list(found)[:2] == CODED
        assert found["kwargs"].kind is inspect.Parameter.VAR_KEYWORD
        if codec in ("StringCodec", "Base64Codec", "DatetimeCodec"):
            assert found["use_bytes"].default is True


@pytest.mark.parametrize("codec", ["RequestCodec", "NumpyRequestCodec", "StringRequestCodec", "PandasCodec"])
def test_request_codecs(codec: str) -> None:
    cls = getattr(codecs, codec)
    assert list(inspect.signature(cls.decode_request).parameters) == ["request"]
    assert list(inspect.signature(cls.decode_response).parameters) == ["response"]
    assert next(iter(inspect.signature(cls.encode_request).parameters)) == "payload"
    found = inspect.signature(cls.encode_response).parameters
    assert list(found)[:3] == ["model_name", "payload", "model_version"]
    assert found["model_version"].default is None
    if codec == "PandasCodec":
        assert found["use_bytes"].default is True


def test_aliases_of_the_codecs() -> None:
    assert codecs.NumpyCodec.TypeHint is np.ndarray
    assert codecs.NumpyRequestCodec.InputCodec is codecs.NumpyCodec
    assert codecs.StringRequestCodec.InputCodec is codecs.StringCodec
    assert codecs.PandasCodec.TypeHint is pd.DataFrame


def test_metrics() -> None:
    assert list(inspect.signature(mlsrv.register).parameters)[:2] == ["name", "description"]
    (values,) = inspect.signature(mlsrv.log).parameters.values()
    assert values.kind is inspect.Parameter.VAR_KEYWORD
    mlsrv.register("my_custom_metric", "This is a custom metric example")
    mlsrv.log(my_custom_metric=34)


def test_names_to_import() -> None:
    from mlsrv.codecs import decode_args, register_input_codec, register_request_codec
    from mlsrv.errors import MLSrvError
    from mlsrv.handlers import custom_handler
    from mlsrv.settings import ModelParameters
    from mlsrv.utils import get_model_uri

    names: list[Any] = [
        decode_args,
        register_input_codec,
        register_request_codec,
        custom_handler,
        get_model_uri,
    ]
    assert all(callable(name) for name in names)
    assert issubclass(MLSrvError, Exception)
    assert ModelParameters(uri="x").uri == "x"
