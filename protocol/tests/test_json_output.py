"""JSON responses: how data is written, and the errors for wrong outputs of models."""

import json
import math
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pytest

from mlsrv_protocol import (
    Code,
    Datatype,
    InferenceRequest,
    InferenceResponse,
    InvalidOutput,
    InvalidPayload,
    Parameters,
    RequestInput,
    ResponseOutput,
)
from mlsrv_protocol.json import (
    encode_request,
    encode_response,
)

NAN, INF = math.nan, math.inf


def respond(**output: Any) -> bytes:
    fields = {"name": "y", "shape": [1], "datatype": "FP32", "data": [1]} | output
    return encode_response(InferenceResponse(model_name="m", outputs=[ResponseOutput(**fields)]))


def test_a_whole_response_and_the_order_of_its_keys() -> None:
    response = InferenceResponse(
        model_name="iris",
        model_version="1",
        id="42",
        parameters=Parameters(content_type="np", none=None),
        outputs=[
            ResponseOutput(
                name="y",
                shape=[2, 1],
                datatype="INT64",
                data=np.array([[0], [2]]),
                parameters=Parameters(content_type="np"),
            ),
            ResponseOutput(name="z", shape=[1], datatype="BYTES", data=[b"a"], parameters=Parameters()),
        ],
    )
    assert encode_response(response) == (
        b'{"model_name":"iris","model_version":"1","id":"42","parameters":{"content_type":"np"},"outputs":['
        b'{"name":"y","shape":[2,1],"datatype":"INT64","parameters":{"content_type":"np"},"data":[0,2]},'
        b'{"name":"z","shape":[1],"datatype":"BYTES","data":["a"]}]}'
    )
    assert (
        encode_response(InferenceResponse(model_name="m", outputs=[])) == b'{"model_name":"m","outputs":[]}'
    )
    assert response.json().encode() == encode_response(response)
    assert response.dict() == json.loads(encode_response(response))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"data": np.array([0.1], np.float32)}, "[0.1]"),
        ({"data": [0.1], "datatype": "FP64"}, "[0.1]"),
        ({"data": np.array([1.5]), "datatype": "FP16"}, "[1.5]"),
        ({"data": np.array([0x3FC0], np.uint16), "datatype": "BF16"}, "[1.5]"),
        ({"data": [True], "datatype": "BOOL"}, "[true]"),
        ({"data": [2**64 - 1], "datatype": "UINT64"}, "[18446744073709551615]"),
        ({"data": [-(2**63)], "datatype": "INT64"}, "[-9223372036854775808]"),
        ({"data": [2**53 + 1], "datatype": "INT64"}, "[9007199254740993]"),
        ({"data": [[1, 2], [3, 4]], "shape": [2, 2]}, "[1.0,2.0,3.0,4.0]"),
        ({"data": np.array([[1, 2], [3, 4]]).T, "shape": (2, 2)}, "[1.0,3.0,2.0,4.0]"),
        ({"data": np.array(3.0), "shape": []}, "[3.0]"),
        ({"data": [], "shape": [0, 4]}, "[]"),
        ({"data": [1], "shape": [np.int64(1)]}, "[1.0]"),
        ({"data": [float("nan")]}, "[null]"),
        ({"data": [None]}, "[null]"),
        ({"data": [INF, -INF, NAN, 1.5], "shape": [4]}, '["Infinity","-Infinity",null,1.5]'),
        (
            {"data": [INF, -INF, NAN, 1.5], "shape": [4], "datatype": "FP64"},
            '["Infinity","-Infinity",null,1.5]',
        ),
        (
            {"data": [INF, -INF, NAN, 1.5], "shape": [4], "datatype": "FP16"},
            '["Infinity","-Infinity",null,1.5]',
        ),
        (
            {"data": [INF, -INF, NAN, 1.5], "shape": [4], "datatype": "BF16"},
            '["Infinity","-Infinity",null,1.5]',
        ),
        ({"data": ["NaN", "-Infinity"], "shape": [2]}, '[null,"-Infinity"]'),
        ({"data": ["null", b"a\xc3\xa9"], "shape": [2], "datatype": "BYTES"}, '["null","aé"]'),
        ({"data": np.array([["a"], ["b"]]), "shape": [2, 1], "datatype": "BYTES"}, '["a","b"]'),
    ],
)
def test_how_data_is_written(output: dict[str, Any], expected: str) -> None:
    text = respond(**output).decode()
    assert text.endswith(f'"data":{expected}}}]}}')
    json.loads(text, parse_constant=pytest.fail)


def test_many_infinities_are_written_each_in_its_place() -> None:
    data = np.array([1.0, NAN, INF, -INF] * 5000 + [NAN], np.float32)
    written = json.loads(respond(data=data, shape=[data.size]))["outputs"][0]["data"]
    assert written == [1.0, None, "Infinity", "-Infinity"] * 5000 + [None]


def test_bytes_that_are_not_text_make_their_output_base64() -> None:
    parameters = Parameters(content_type="str", foo=1)
    response = InferenceResponse(
        model_name="m",
        outputs=[
            ResponseOutput(name="a", shape=[2], datatype="BYTES", data=[b"\xff", "ä"], parameters=parameters),
            ResponseOutput(name="b", shape=[1], datatype="BYTES", data=["ä".encode()]),
        ],
    )
    first, second = json.loads(encode_response(response))["outputs"]
    assert first["data"] == ["/w==", "w6Q="]
    assert first["parameters"] == {"content_type": "base64", "foo": 1}
    assert second["data"] == ["ä"]
    assert "parameters" not in second
    assert parameters.content_type == "str"


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({"data": [1, 2]}, r"data has 2 elements, but shape \[1\] means 1"),
        ({"data": []}, r"data has 0 elements, but shape \[1\] means 1"),
        ({"data": ["a", "b"], "datatype": "BYTES"}, "data has 2 elements"),
        ({"shape": [-1]}, "shape contains -1"),
        ({"shape": ["a"]}, "shape is an array with other things than integers in it"),
        ({"shape": [None, 1]}, "other things than integers"),
        ({"data": [[1], [1, 2]]}, "ragged"),
        ({"data": [1.5], "datatype": "INT8"}, "but INT8 takes only whole numbers"),
        ({"data": [300], "datatype": "UINT8"}, "but UINT8 takes only whole numbers from 0 to 255"),
        ({"data": [1e39]}, "but FP32 takes only numbers up to"),
        ({"data": np.array([object()])}, "numpy array of object, which cannot be sent as FP32"),
        ({"data": np.array([1j])}, "numpy array of complex128"),
        ({"data": None}, "data is null"),
        ({"data": {"a": 1}}, "data is an object"),
        ({"data": [1], "datatype": "BYTES"}, "only strings and bytes"),
        ({"data": ["\ud800"], "datatype": "BYTES"}, "has no JSON form"),
        (
            {"parameters": Parameters(b=1, a={1, 2})},
            r"parameters\.a has no JSON form: Type is not JSON serializable: set",
        ),
        ({"parameters": Parameters(a=b"\xff")}, r"parameters\.a has no JSON form"),
        ({"parameters": Parameters(a={1: 2})}, r"parameters\.a has no JSON form: Dict key must be"),
        ({"parameters": Parameters(a=[Decimal(1)])}, r"parameters\.a has no JSON form: .*Decimal"),
        (
            {"parameters": Parameters(a=2**64)},
            r"parameters\.a has no JSON form: Integer exceeds 64-bit range",
        ),
        ({"name": ""}, "name is"),
    ],
)
def test_a_model_authors_mistake_is_internal_and_names_the_output(
    output: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidOutput, match=problem) as caught:
        respond(**output)
    assert caught.value.code is Code.INTERNAL
    assert str(caught.value).startswith(f'outputs[0] "{output.get("name", "y")}"')


def test_a_mistake_outside_of_the_outputs_is_internal_too() -> None:
    response = InferenceResponse(model_name="m", outputs=[], parameters=Parameters(a=object()))
    with pytest.raises(
        InvalidOutput, match=r"^parameters\.a has no JSON form: Type is not JSON serializable: object\.$"
    ):
        encode_response(response)


def test_parameters_of_python_code_are_written() -> None:
    parameters = Parameters(
        a=np.float32(1.5), b=np.array([[1, 2], [3, 4]]).T, c=(1, 2), d=b"x", e=Datatype.FP32, f=[None, INF]
    )
    plain = json.loads(encode_response(InferenceResponse(model_name="m", outputs=[], parameters=parameters)))
    assert plain["parameters"] == {
        "a": 1.5,
        "b": [[1, 3], [2, 4]],
        "c": [1, 2],
        "d": "x",
        "e": "FP32",
        "f": [None, None],
    }


def test_a_clients_mistake_is_an_invalid_payload() -> None:
    wrong = RequestInput(name="x", shape=[2], datatype="FP32", data=[1])
    with pytest.raises(InvalidPayload, match=r'inputs\[0\] "x": data has 1 element'):
        encode_request(InferenceRequest(inputs=[wrong]))
    with pytest.raises(InvalidPayload, match=r'inputs\[0\] "x" has no JSON form'):
        encode_request(InferenceRequest(inputs=[RequestInput("x", [1], "BYTES", ["\ud800"])]))  # type: ignore[arg-type]  # converted


class Label(str, Enum):
    CAT = "cat"


def test_keys_of_subclasses_of_str_count_by_their_value() -> None:
    nested = {Label.CAT: [{Label.CAT: 1}], "scores": np.array([1.5, INF])}
    output = json.loads(respond(parameters=Parameters(by_label=nested)))["outputs"][0]
    assert output["parameters"] == {
        "by_label": {"cat": [{"cat": 1}], "scores": [1.5, "Infinity"]},
    }


@pytest.mark.parametrize("key", [1, None, (1, 2)])
def test_other_keys_that_are_no_texts_are_refused(key: Any) -> None:
    with pytest.raises(InvalidOutput, match="Dict key must be str"):
        respond(parameters=Parameters(by_label={key: 1, Label.CAT: {Label.CAT: 2}}))


def test_parameters_that_hold_themselves_are_refused() -> None:
    loop: dict[str, Any] = {Label.CAT: 1}
    loop["again"] = loop
    with pytest.raises(InvalidOutput, match="no JSON form"):
        respond(parameters=Parameters(loop=loop))
