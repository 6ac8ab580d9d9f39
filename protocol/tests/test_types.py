import pickle
from typing import Any

import numpy as np
import pytest

import mlsrv_protocol
from mlsrv_protocol import types
from mlsrv_protocol.types import (
    Datatype,
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    MetadataTensor,
    Parameters,
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    RepositoryIndexResponseItem,
    RepositoryLoadErrorResponse,
    RepositoryUnloadErrorResponse,
    RequestInput,
    RequestOutput,
    ResponseOutput,
    State,
)

TENSOR: dict[str, Any] = {
    "name": "x",
    "shape": [2, 2],
    "datatype": "FP32",
    "data": [1.0, None, "Infinity", 4.5],
}
ITEM = {"name": "m", "state": "READY", "version": "1", "reason": ""}

# Each message with the plain form that it reads from and writes to.
PLAIN: list[tuple[type[Any], Any]] = [
    (
        RequestInput,
        {"name": "x", "shape": [], "datatype": "INT8", "parameters": {"content_type": "np"}, "data": [1]},
    ),
    (RequestOutput, {"name": "y", "parameters": {"classification": 3}}),
    (
        InferenceRequest,
        {"id": "1", "parameters": {"a": [1, {"b": None}]}, "inputs": [TENSOR], "outputs": [{"name": "y"}]},
    ),
    (InferenceRequest, {"inputs": []}),
    (ResponseOutput, TENSOR),
    (
        InferenceResponse,
        {"model_name": "m", "model_version": "1", "id": "7", "parameters": {"a": 1}, "outputs": [TENSOR]},
    ),
    (InferenceErrorResponse, {"error": "No."}),
    (
        MetadataTensor,
        {"name": "x", "datatype": "INT8", "shape": [-1, 3], "parameters": {"content_type": "np"}},
    ),
    (
        MetadataModelResponse,
        {
            "name": "m",
            "platform": "sklearn",
            "versions": ["1", "v10"],
            "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1]}],
            "outputs": [],
        },
    ),
    (MetadataServerResponse, {"name": "s", "version": "0.1", "extensions": ["binary_tensor_data"]}),
    (RepositoryIndexRequest, {"ready": True}),
    (RepositoryIndexRequest, {}),
    (RepositoryIndexResponseItem, ITEM),
    (RepositoryIndexResponse, [ITEM, {"name": "n", "state": "UNAVAILABLE", "reason": "It has no file."}]),
    (RepositoryLoadErrorResponse, {"error": "No."}),
    (RepositoryUnloadErrorResponse, {}),
]


@pytest.mark.parametrize(("cls", "plain"), PLAIN)
def test_a_message_reads_and_writes_its_plain_form(cls: type[Any], plain: Any) -> None:
    message = cls.parse_obj(plain)
    assert message.dict() == plain
    assert list(message.dict()) == list(plain)
    assert cls.parse_raw(message.json()) == message
    assert cls.parse_raw(message.json().encode()) == message
    assert pickle.loads(pickle.dumps(message)) == message
    if isinstance(plain, dict):
        assert cls(**plain).dict() == plain


def test_every_public_name_of_the_types_is_at_the_top_too() -> None:
    assert set(types.__all__) <= set(mlsrv_protocol.__all__)
    for name in types.__all__:
        assert getattr(mlsrv_protocol, name) is getattr(types, name)


def test_nested_dicts_and_names_are_converted() -> None:
    request = InferenceRequest(
        inputs=[{"name": "x", "shape": (2,), "datatype": "FP32", "data": [1, 2], "parameters": {"foo": 1}}],
        outputs=({"name": "y"},),
        parameters={"headers": {"a": "b"}},
    )
    tensor = request.inputs[0]
    assert isinstance(tensor, RequestInput)
    assert tensor.shape == [2]
    assert tensor.datatype is Datatype.FP32
    assert tensor.parameters == Parameters(foo=1)
    assert request.outputs == [RequestOutput(name="y")]
    assert request.parameters is not None
    assert request.parameters.headers == {"a": "b"}


def test_values_of_the_right_type_are_kept() -> None:
    tensor = ResponseOutput(name="y", shape=[1], datatype=Datatype.INT8, data=[1], parameters=Parameters())
    outputs = [tensor]
    response = InferenceResponse(model_name="m", outputs=outputs)
    assert response.outputs is outputs
    assert response.outputs[0] is tensor


def test_an_unknown_datatype_names_the_known_ones() -> None:
    with pytest.raises(
        mlsrv_protocol.InvalidPayload, match=r'"FLOAT" is not a datatype; the datatypes are BOOL, .* BYTES'
    ):
        RequestInput(name="x", shape=[1], datatype="FLOAT", data=[1])


def output(data: Any) -> ResponseOutput:
    return ResponseOutput(name="y", shape=[2, 2], datatype="FP64", data=data)


def test_messages_with_arrays_can_be_compared() -> None:
    flat = np.array([1.0, np.nan, 3.0, 4.0])
    assert output(flat) == output(flat.copy())
    assert output(flat) == output(flat.reshape(2, 2))
    assert output(flat) != output(np.zeros(4))
    assert output(flat) != output(flat[:3])
    assert output([1, 2]) == output(np.array([1, 2])) == output([1, 2])
    assert output([[1], [2, 3]]) != output(flat)
    assert output(["a", b"b"]) == output(["a", b"b"]) != output(["a", b"c"])


def test_states_are_strings() -> None:
    assert f"{State.READY}" == "READY" == State.READY
    assert [str(state) for state in State] == ["UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"]


def test_the_model_name_is_not_in_the_json_body() -> None:
    request = InferenceRequest(inputs=[], model_name="m", model_version="1")
    assert request.dict() == {"inputs": []}
    assert InferenceRequest.parse_obj({"inputs": [], "model_name": "m"}).model_name == ""


@pytest.mark.parametrize(
    ("cls", "plain", "problem"),
    [
        (RequestOutput, {}, "name is missing"),
        (RequestOutput, [], "must be a JSON object"),
        (
            RequestOutput,
            {"name": "y", "parameters": {"shared_memory_region": "r"}},
            r'outputs\[0\] "y": parameters.shared_memory_region is set, but shared memory is not supported',
        ),
        (RequestInput, {"name": "x"}, r'inputs\[0\] "x": shape is missing'),
        (ResponseOutput, 5, r"outputs\[0\]: the tensor is 5"),
        (InferenceErrorResponse, {}, "error is missing"),
        (MetadataTensor, {"name": "x", "datatype": "FP32", "shape": [-2]}, "shape contains -2"),
        (MetadataTensor, {"name": "x", "datatype": "FP32", "shape": [True]}, "shape contains true"),
        (MetadataTensor, {"name": "x", "datatype": "FP32"}, "shape is missing"),
        (MetadataTensor, {"name": "x", "datatype": {}, "shape": []}, "datatype is an object"),
        (MetadataTensor, {"name": "x", "shape": []}, "datatype is missing"),
        (MetadataModelResponse, {"name": 5}, "name is 5; it must be a string"),
        (MetadataModelResponse, {"name": "m", "versions": [1]}, "versions is 1; it must be a string"),
        (MetadataServerResponse, {"name": "s"}, "version is missing"),
        (RepositoryIndexRequest, {"ready": "yes"}, 'ready is "yes"; it must be true or false'),
        (RepositoryIndexResponse, {}, "The index is an object; it must be an array"),
        (
            RepositoryIndexResponseItem,
            {"name": "m", "state": "GONE"},
            'state is "GONE"; it is one of UNKNOWN, READY',
        ),
        (RepositoryLoadErrorResponse, {"error": 5}, "error is 5"),
        (InferenceResponse, {"outputs": []}, "model_name is missing"),
        (InferenceResponse, {"model_name": "m"}, "outputs is missing"),
        (
            InferenceResponse,
            {"model_name": "m", "outputs": [TENSOR, TENSOR]},
            'outputs has two tensors called "x"',
        ),
        (InferenceResponse, {"model_name": "m", "outputs": [], "model_version": 1}, "model_version is 1"),
    ],
)
def test_wrong_plain_data_is_refused_and_the_field_named(cls: type[Any], plain: Any, problem: str) -> None:
    with pytest.raises(mlsrv_protocol.InvalidPayload, match=problem):
        cls.parse_obj(plain)


def test_text_that_is_not_json_is_refused() -> None:
    for text in ("", "{", b"\xff", "\ud800"):
        for cls in (RequestOutput, InferenceRequest):
            with pytest.raises(mlsrv_protocol.InvalidPayload, match=r"^The body is "):
                cls.parse_raw(text)


def test_leaving_fields_out() -> None:
    tensor = RequestInput("x", [1], "INT8", [1], Parameters("np", {"h": "1"}, k=2))
    exclude = {
        "parameters": {"headers", "absent"},
        "inputs": {"__all__": {"parameters": {"headers"}, "data": ...}},
    }
    assert tensor.dict(exclude=exclude) == {
        "name": "x",
        "shape": [1],
        "datatype": "INT8",
        "parameters": {"content_type": "np", "k": 2},
        "data": [1],
    }
    assert InferenceRequest([tensor], id="1", parameters={"headers": {"a": "b"}, "k": 1}).dict(
        exclude=exclude
    ) == {
        "id": "1",
        "parameters": {"k": 1},
        "inputs": [
            {"name": "x", "shape": [1], "datatype": "INT8", "parameters": {"content_type": "np", "k": 2}}
        ],
    }
    assert tensor.dict(exclude={"parameters", "data", "shape"}) == {"name": "x", "datatype": "INT8"}
