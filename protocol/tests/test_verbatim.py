"""Data that is nested in JSON, and data that is written as it is."""

import pickle

import numpy as np
import orjson
import pytest

from mlsrv_protocol.errors import InvalidOutput
from mlsrv_protocol.json import decode_request, encode_request, encode_response
from mlsrv_protocol.types import InferenceResponse, ResponseOutput
from mlsrv_protocol.verbatim import Verbatim


@pytest.mark.parametrize("padding", [0, 4096])
@pytest.mark.parametrize(
    ("data", "datatype", "nested"),
    [
        ("[[1, 2], [3, 4]]", "INT32", True),
        ("[1, 2, 3, 4]", "INT32", False),
        ('[["a", "b"], ["c", "d"]]', "BYTES", True),
    ],
)
def test_nested_data_is_written_as_it_was_read(data: str, datatype: str, nested: bool, padding: int) -> None:
    body = f'{{"inputs": [{{"name": "x", "shape": [2, 2], "datatype": "{datatype}", "data": {data}}}]}}'
    request = decode_request(body.encode() + b" " * padding)
    (tensor,) = request.inputs
    assert tensor.nested is nested
    assert len(tensor.data) == 4
    assert orjson.loads(encode_request(request))["inputs"][0]["data"] == orjson.loads(data)


def response(output: ResponseOutput) -> bytes:
    return encode_response(InferenceResponse("m", [output]))


def test_verbatim_data_need_not_fit() -> None:
    data = Verbatim([{"label": "A"}, None, 1.5])
    written = orjson.loads(response(ResponseOutput("y", [1], "BYTES", data)))
    assert written["outputs"] == [{"name": "y", "shape": [1], "datatype": "BYTES", "data": list(data)}]


@pytest.mark.parametrize("value", ["text", 5, None, {"a": 1}, [1], []])
def test_a_bare_value_has_no_list_around_it(value: object) -> None:
    data = pickle.loads(pickle.dumps(Verbatim.of(value)))
    written = orjson.loads(response(ResponseOutput("y", [1], "BYTES", data)))
    assert written["outputs"][0]["data"] == value
    assert list(data) == (value if isinstance(value, list) else [value])


def test_verbatim_data_must_have_a_form_in_json() -> None:
    with pytest.raises(InvalidOutput, match='outputs\\[0\\] "y" has no JSON form'):
        response(ResponseOutput("y", [1], "BYTES", Verbatim([object()])))


def test_a_single_row_is_nested_too() -> None:
    output = ResponseOutput("y", [1, 2], "FP32", np.array([0.5, 1.5], dtype=np.float32), nested=True)
    assert orjson.loads(response(output))["outputs"][0]["data"] == [[0.5, 1.5]]
