"""Bodies of requests and responses whose headers travel beside them."""

import numpy as np
import pytest

from mlsrv_protocol import InferenceRequest, InferenceResponse, InvalidPayload, binary, json
from mlsrv_protocol.bodies import (
    SLOW_BYTES,
    decode_request,
    encode_response,
    headers_of,
    is_quick,
    without_headers,
)

TENSOR = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}


def nothing_declared() -> list[object]:
    raise AssertionError("only a raw body needs the inputs that a model declares")


@pytest.mark.parametrize(
    ("body", "length", "quick"),
    [
        (b" " * (SLOW_BYTES - 1), None, True),
        (b" " * SLOW_BYTES, None, False),
        (b" " * SLOW_BYTES, "0", True),
        (b'{"datatype":"FP32"}' + bytes(SLOW_BYTES), "19", True),
        (b'{"datatype":"BYTES"}' + bytes(SLOW_BYTES), "20", False),
        (b'{"datatype":"\\u0042YTES"}' + bytes(SLOW_BYTES), "25", False),
        (b" " * 2 * SLOW_BYTES, str(SLOW_BYTES), False),
        (b" " * SLOW_BYTES, "-1", False),
        (b" " * SLOW_BYTES, "1" * 5000, False),
    ],
)
def test_bodies_that_are_decoded_quickly(body: bytes, length: str | None, quick: bool) -> None:
    assert is_quick(body, length) is quick


def test_a_body_of_json_alone() -> None:
    request, wanted = decode_request(json.encode_request(InferenceRequest([TENSOR])), None, nothing_declared)
    assert request.inputs[0].data.tolist() == [1.0, 2.0]
    assert wanted == binary.NONE


def test_a_body_with_binary_tensors() -> None:
    length, pieces = binary.encode_request(InferenceRequest([TENSOR]))
    request, wanted = decode_request(b"".join(pieces), str(length), nothing_declared)
    assert request.inputs[0].data.tolist() == [1.0, 2.0]
    assert "anything" in wanted
    assert request.parameters is None or "binary_data_output" not in request.parameters


def test_a_length_beyond_the_body() -> None:
    with pytest.raises(InvalidPayload, match="Inference-Header-Content-Length"):
        decode_request(b"{}", "3", nothing_declared)


def test_a_response_is_binary_where_that_was_asked_for() -> None:
    response = InferenceResponse("m", [TENSOR])
    assert encode_response(response, binary.NONE) == (json.encode_response(response), None)
    assert encode_response(response, {"y"}) == (json.encode_response(response), None)
    body, size = encode_response(response, {"x"})
    assert size is not None
    assert np.frombuffer(body[size:], np.float32).tolist() == [1.0, 2.0]
    assert binary.decode_response(body, size).outputs[0].data.tolist() == [1.0, 2.0]


def test_headers_are_left_out_of_the_body_and_stay_in_the_response() -> None:
    response = InferenceResponse("m", [TENSOR], parameters={"headers": {"a": "b"}, "k": 1})
    body, _ = encode_response(response, binary.NONE)
    assert b"headers" not in body
    assert b'"k":1' in body
    assert headers_of(response) == {"a": "b"}
    assert headers_of(without_headers(response)) == {}
    assert without_headers(InferenceResponse("m", parameters={"headers": {"a": "b"}})).parameters is None
