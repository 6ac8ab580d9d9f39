"""Python calls of the hot path: a message that the reader has checked is not checked or converted again."""

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

from mlsrv_protocol import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput
from mlsrv_protocol.grpc import decode_request as decode_grpc_request
from mlsrv_protocol.grpc import encode_request as encode_grpc_request
from mlsrv_protocol.json import decode_request, decode_response, encode_response

CONVERTERS = {"to_shape", "to_datatype", "to_parameters", "to_list", "all_are"}


def python_calls(function: Callable[[], object]) -> list[str]:
    """The names of the Python functions that a call runs, in order, after one call to warm up."""
    function()
    names: list[str] = []

    def record(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            names.append(frame.f_code.co_name)

    before = sys.getprofile()
    gc.disable()  # callbacks of a collection are calls, too
    sys.setprofile(record)
    try:
        function()
    finally:
        sys.setprofile(before)
        gc.enable()
    return names[1:]  # the first is the function itself


@pytest.mark.parametrize(("datatype", "data"), [("FP64", "[1.5, 2.5]"), ("INT64", "[1, 2]")])
def test_decoding_a_small_json_request_takes_at_most_18_calls(datatype: str, data: str) -> None:
    tensor = f'{{"name": "x", "shape": [2], "datatype": "{datatype}", "data": {data}}}'
    body = f'{{"id": "7", "inputs": [{tensor}]}}'.encode()
    calls = python_calls(lambda: decode_request(body))
    assert len(calls) <= 18, calls
    assert not CONVERTERS.intersection(calls)


def test_decoding_a_json_response_runs_no_converter() -> None:
    body = encode_response(InferenceResponse("m", [ResponseOutput("y", [2], "FP64", [1.0, 2.0])], "1", "42"))
    calls = python_calls(lambda: decode_response(body))
    assert len(calls) <= 22, calls
    assert not CONVERTERS.intersection(calls)


def test_encoding_a_small_json_response_takes_at_most_12_calls() -> None:
    response = InferenceResponse("m", [ResponseOutput("y", [1, 2], "FP64", np.ones((1, 2)))], "1", "42")
    calls = python_calls(lambda: encode_response(response))
    assert len(calls) <= 12, calls
    assert not CONVERTERS.intersection(calls)


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("rows", [1, 4096])
def test_decoding_a_grpc_request_runs_no_converter(typed: bool, rows: int) -> None:
    """4096 rows of FP64 are more than the short cut for small messages takes."""
    tensor = RequestInput("x", [rows], "FP64", np.ones(rows))
    body = encode_grpc_request(InferenceRequest([tensor], model_name="m"), typed=typed)
    calls = python_calls(lambda: decode_grpc_request(body))
    assert "construct" in calls
    assert not CONVERTERS.intersection(calls)
    if rows == 1:
        assert len(calls) <= 10, calls


@pytest.mark.parametrize(
    ("constructed", "checked"),
    [
        (
            RequestInput.construct("x", [1], RequestInput("x", [1], "FP64", [1.0]).datatype, [1.0]),
            RequestInput("x", [1], "FP64", [1.0]),
        ),
        (InferenceRequest.construct([], "7"), InferenceRequest([], "7")),
        (InferenceResponse.construct("m", []), InferenceResponse("m")),
        (
            InferenceResponse.construct("m", [], "1", "7", Parameters(a=1)),
            InferenceResponse("m", [], "1", "7", {"a": 1}),
        ),
    ],
    ids=["input", "request", "response", "response with all fields"],
)
def test_construct_makes_the_message_that_the_constructor_makes(constructed: object, checked: object) -> None:
    assert constructed == checked
    assert repr(constructed) == repr(checked)
