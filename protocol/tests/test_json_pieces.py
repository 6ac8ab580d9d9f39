"""JSON pieces: a long array has the same text whether it is written at once or in pieces."""

from typing import Any

import numpy as np
import orjson
import pytest

from mlsrv_protocol import InvalidOutput
from mlsrv_protocol.bodies import encode_response
from mlsrv_protocol.json_pieces import dump_in_pieces
from mlsrv_protocol.json_text import dumps
from mlsrv_protocol.pieces import PIECE
from mlsrv_protocol.types import InferenceResponse, ResponseOutput
from mlsrv_protocol.verbatim import Verbatim

LONG = 2 * PIECE + 3
FLOATS = np.random.default_rng(0).random(LONG)
WITH_GAPS = np.where(FLOATS < 0.001, np.nan, np.where(FLOATS > 0.999, np.inf, FLOATS))


@pytest.mark.parametrize(
    "data",
    [
        FLOATS,
        WITH_GAPS,
        -WITH_GAPS.astype(np.float32),
        FLOATS > 0.5,
        np.arange(LONG, dtype=np.uint64) + 2**63,
        FLOATS.astype(np.float16),
        ['a"\\ä', ""] * PIECE + ["x"],
        FLOATS.reshape(-1, 1),
        [[1, None]] * LONG,
    ],
    ids=["floats", "gaps", "float32", "booleans", "integers", "float16", "texts", "rows", "lists"],
)
def test_the_text_is_the_same(data: Any) -> None:
    short, pair = {"name": "a", "data": [1, "null"]}, {"name": "b"}
    for tensors in ([{"data": data}], [short, {"data": data}, {"data": data}, pair], [short]):
        expected = dumps({"outputs": tensors, "id": "\0"})
        assert dump_in_pieces({"outputs": [*map(dict, tensors)], "id": "\0"}, "outputs") == expected


def test_a_response_is_written_so() -> None:
    output = ResponseOutput("y", [LONG], "FP64", WITH_GAPS)
    body, _ = encode_response(InferenceResponse(model_name="m", outputs=[output]), ())
    assert orjson.loads(body)["outputs"][0]["data"] == orjson.loads(dumps(WITH_GAPS))


def test_an_element_without_a_json_form_is_named() -> None:
    with pytest.raises(TypeError, match="complex"):
        dump_in_pieces({"outputs": [{"data": [1.0] * LONG + [1j]}]}, "outputs")
    output = ResponseOutput("y", [LONG + 1], "BYTES", ["a"] * LONG + [b"\xff"])
    assert b'"content_type":"base64"' in encode_response(InferenceResponse("m", [output]), ())[0]
    output = ResponseOutput("y", [LONG + 1], "BYTES", ["a"] * LONG + [1])
    with pytest.raises(InvalidOutput, match=r"data\["):
        encode_response(InferenceResponse("m", [output]), ())


@pytest.mark.parametrize("value", ["x" * LONG, 1.5, None])
def test_a_bare_value_is_written_as_it_is(value: Any) -> None:
    output = ResponseOutput("y", [1], "BYTES", Verbatim.of(value))
    body, _ = encode_response(InferenceResponse("m", [output]), ())
    assert orjson.loads(body)["outputs"][0]["data"] == value
