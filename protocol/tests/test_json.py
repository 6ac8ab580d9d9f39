"""JSON requests: the accepted ones, and the errors for the others. `test_json_data.py` covers tensor data."""

import math
from typing import Any

import numpy as np
import pytest

from mlsrv_protocol import (
    Datatype,
    InferenceRequest,
    InvalidPayload,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_protocol.datatypes import bf16_to_float32
from mlsrv_protocol.json import (
    decode_json_object,
    decode_request,
    dumps,
    encode_error,
)

SIZES = [0, 3000]
"""Bytes of padding: small messages and large ones are read in different ways, by the same rules."""


def body(data: str, datatype: str, shape: str, padding: int = 0, more: str = "") -> bytes:
    tensor = f'"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}{more}'
    return f'{{"inputs": [{{{tensor}}}]{" " * padding}}}'.encode()


def values(tensor: RequestInput | ResponseOutput) -> list[Any]:
    """The values of a tensor as Python numbers or strings."""
    if isinstance(tensor.data, list):
        return tensor.data
    if tensor.datatype is Datatype.BF16:
        return bf16_to_float32(tensor.data).tolist()
    return list(tensor.data.tolist())


X = '{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "The body is empty; send a JSON object"),
        (" ", "The body is not valid JSON"),
        ("null", "The request is null; it must be a JSON object"),
        ("[]", "The request is an array"),
        ("5", "The request is 5"),
        ('"inputs"', 'The request is "inputs"'),
        ("{", "The body is not valid JSON"),
        ("{'inputs': []}", "The body is not valid JSON"),
        ('{"inputs": []} x', "The body is not valid JSON: unexpected content"),
        ('{"inputs": []}{}', "The body is not valid JSON"),
        ("\ufeff{}", "it starts with a byte order mark"),
        ("NaN", "The request is NaN"),
        ("{}", "inputs is missing; it must be an array"),
        ('{"inputs": null}', "inputs is missing"),
        ('{"inputs": {}}', "inputs is an object; it must be an array"),
        ('{"inputs": "x"}', 'inputs is "x"; it must be an array'),
        ('{"inputs": [null]}', r"inputs\[0\]: the tensor is null; it must be a JSON object"),
        ('{"inputs": [[]]}', r"inputs\[0\]: the tensor is an array"),
        ('{"inputs": [{}]}', r"inputs\[0\]: name is missing"),
        ('{"inputs": [{"name": ""}]}', r'inputs\[0\] "": name is ""'),
        ('{"inputs": [{"name": 5}]}', r"inputs\[0\]: name is 5"),
        ('{"inputs": [{"name": "x"}]}', r'inputs\[0\] "x": shape is missing'),
        (
            '{"inputs": [{"name": "x", "shape": [1]}]}',
            r'inputs\[0\] "x": datatype is missing; it is one of BOOL',
        ),
        ('{"inputs": [{"name": "x", "shape": [1], "datatype": 5}]}', "datatype is 5; it is one of BOOL"),
        ('{"inputs": [{"name": "x", "shape": [1], "datatype": ["FP32"]}]}', "datatype is an array"),
        ('{"inputs": [{"name": "x", "shape": [1], "datatype": "fp32"}]}', '"fp32" is not a datatype'),
        ('{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}', "data is missing"),
        (f'{{"inputs": [{X}, {X}]}}', 'inputs has two tensors called "x"'),
        ('{"inputs": [], "id": 5}', "id is 5; it must be a string"),
        ('{"inputs": [], "id": ["a"]}', "id is an array"),
        ('{"inputs": [], "id": "\\ud800"}', "not valid JSON"),
        ('{"inputs": [], "id": "\\ud800", "a": NaN}', "surrogate"),
        ('{"inputs": [], "outputs": {}}', "outputs is an object; it must be an array"),
        ('{"inputs": [], "outputs": ["y"]}', r'outputs\[0\]: the output is "y"; it must be a JSON object'),
        ('{"inputs": [], "outputs": [{}]}', r"outputs\[0\]: name is missing"),
        ('{"inputs": [], "outputs": [{"name": ""}]}', r'outputs\[0\] "": name is ""'),
        ('{"inputs": [], "outputs": [{"name": "y"}, {"name": "y"}]}', 'outputs has two tensors called "y"'),
        ('{"inputs": [], "outputs": [{"name": "y", "parameters": 1}]}', r'outputs\[0\] "y": parameters is 1'),
        ('{"inputs": [], "parameters": []}', "parameters is an array; it must be a JSON object"),
        ('{"inputs": [], "parameters": "a"}', 'parameters is "a"'),
        ('{"inputs": [], "parameters": {"content_type": 5}}', "parameters.content_type is 5"),
        ('{"inputs": [], "parameters": {"headers": {"a": 5}}}', "parameters.headers must be an object"),
        ('{"inputs": [], "parameters": {"a": NaN}}', "parameters hold NaN or an infinity"),
        ('{"inputs": [], "parameters": {"a": [{"b": Infinity}]}}', "parameters hold NaN or an infinity"),
        ('{"inputs": [], "parameters": {"sequence_id": 1}}', "sequences are not supported"),
        ('{"inputs": [], "parameters": {"sequence_id": "a"}}', "sequences are not supported"),
        (
            '{"inputs": [], "parameters": {"a": ' + "[" * 33 + "]" * 33 + "}}",
            "parameters are nested more than 32",
        ),
        (
            '{"inputs": [], "parameters": {"a": ' + "[" * 900 + "]" * 900 + "}}",
            "parameters are nested more than 32",
        ),
        (
            '{"inputs": [], "parameters": ' + '{"a":' * 900 + "1" + "}" * 901,
            "parameters are nested more than 32",
        ),
    ],
)
def test_wrong_requests_are_refused(text: str, problem: str) -> None:
    for padding in SIZES:
        with pytest.raises(InvalidPayload, match=problem):
            decode_request(text.encode() + b" " * padding if text else b"")


@pytest.mark.parametrize("key", ["binary_data_size", "shared_memory_region"])
def test_data_cannot_be_in_two_places(key: str) -> None:
    for data in ("[1]", "null"):
        with pytest.raises(InvalidPayload, match=rf'inputs\[0\] "x": parameters.{key} is set'):
            decode_request(body(data, "FP32", "[1]", more=f', "parameters": {{"{key}": 4}}'))


def test_a_whole_request() -> None:
    request = decode_request(
        b"""
        {"model_name": "ignored", "unknown": {"a": [1]}, "id": "42",
         "parameters": {"content_type": "pd", "sequence_id": 0, "nested": {"a": [1, {"b": null}]},
                        "none": null},
         "inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT32", "data": [1, 2], "more": [],
                     "parameters": {"content_type": "np", "headers": {"k": "v"}}},
                    {"name": "s", "shape": [1], "datatype": "BYTES", "data": ["a"], "parameters": null}],
         "outputs": [{"name": "y"}, {"name": "z", "parameters": {"classification": 3}}]}
        """
    )
    assert request == InferenceRequest(
        id="42",
        parameters={"content_type": "pd", "sequence_id": 0, "nested": {"a": [1, {"b": None}]}},
        inputs=[
            RequestInput(
                name="x",
                shape=[1, 2],
                datatype="INT32",
                data=np.array([1, 2], np.int32),
                parameters=Parameters(content_type="np", headers={"k": "v"}),
            ),
            RequestInput(name="s", shape=[1], datatype="BYTES", data=["a"]),
        ],
        outputs=[RequestOutput(name="y"), RequestOutput(name="z", parameters={"classification": 3})],
    )


def test_null_and_empty_fields_are_absent() -> None:
    request = decode_request(b'{"inputs": [], "id": null, "parameters": null, "outputs": null}')
    assert (request.id, request.parameters, request.outputs) == (None, None, None)
    assert decode_request(b'{"inputs": [], "parameters": {}}').parameters is None
    assert decode_request(b'{"inputs": [], "id": "", "outputs": []}').outputs == []


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("padding", SIZES)
def test_any_buffer_can_be_decoded(make: Any, padding: int) -> None:
    request = decode_request(make(body("[NaN, 2]", "FP32", "[2]", padding)))
    assert values(request.inputs[0])[1] == 2
    request = decode_request(make(body("[1, 2]", "FP32", "[2]", padding)))
    assert values(request.inputs[0]) == [1, 2]


def test_control_bodies() -> None:
    assert decode_json_object(b'{"ready": true}') == {"ready": True}
    assert decode_json_object(bytearray(b"{}")) == {}
    for wrong in (b"", b"[]", b"{", b'{"a": NaN}', b"\xff", b'{"a":' * 250_000):
        with pytest.raises(InvalidPayload, match=r"^The body is "):
            decode_json_object(wrong)


def test_errors() -> None:
    assert encode_error('a "b" ä') == '{"error":"a \\"b\\" ä"}'.encode()
    assert encode_error("\ud800") == b'{"error":"?"}'


def test_plain_data_and_messages_mix() -> None:
    tensor = ResponseOutput(name="y", shape=[2], datatype="FP32", data=[1, math.inf])
    assert dumps({"models": [tensor], "a": None, "b": Parameters(c=1)}) == (
        b'{"models":[{"name":"y","shape":[2],"datatype":"FP32","data":[1.0,"Infinity"]}],"a":null,"b":{"c":1}}'
    )
