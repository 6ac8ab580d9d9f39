"""Pieces: long data is converted part by part, and comes out as it would whole."""

from typing import Any

import numpy as np
import pytest

from mlsrv_protocol import InvalidPayload, binary, pieces, validation
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.grpc import decode_request, decode_response, encode_request, encode_response
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput

COUNT = pieces.PIECE + 3
DATA = {
    "BYTES": [b"a%d" % (index % 7) for index in range(COUNT)],
    "INT32": np.arange(-5, COUNT - 5, dtype=np.int32),
    "UINT64": np.arange(COUNT, dtype=np.uint64) + 2**63,
    "INT8": (np.arange(COUNT) % 100).astype(np.int8),
}


def request(datatype: str, data: Any) -> InferenceRequest:
    tensor = RequestInput(name="x", shape=[len(data)], datatype=datatype, data=data)
    return InferenceRequest(model_name="m", inputs=[tensor])


@pytest.mark.parametrize("datatype", DATA)
@pytest.mark.parametrize("typed", [True, False])
def test_long_tensors_over_grpc(datatype: str, typed: bool) -> None:
    data = DATA[datatype]
    found, is_typed = decode_request(encode_request(request(datatype, data), typed=typed))
    assert is_typed is typed
    assert list(found.inputs[0].data) == list(data)
    output = ResponseOutput(name="x", shape=[COUNT], datatype=datatype, data=data)
    answer = decode_response(encode_response(InferenceResponse("m", [output]), typed=typed))
    assert list(answer.outputs[0].data) == list(data)


def test_long_texts_in_binary_form() -> None:
    length, parts = binary.encode_request(request("BYTES", DATA["BYTES"]))
    assert binary.decode_request(b"".join(parts), length).inputs[0].data == DATA["BYTES"]


def test_a_wrong_element_far_behind_is_found() -> None:
    texts: list[Any] = ["a"] * COUNT
    for wrong in (None, ["a"]):
        with pytest.raises(InvalidPayload, match="ragged" if wrong else rf"data\[{COUNT}\]"):
            encode_request(request("BYTES", [*texts, wrong]))


def test_types_of_all_pieces_are_found() -> None:
    values = [1] * COUNT + ["a"] + [1] * COUNT + [None]
    assert pieces.types_of(values) == {int, str, type(None)}
    assert pieces.types_of([]) == set()


@pytest.mark.parametrize("typed", [True, False])
def test_requests_have_as_many_texts_as_in_json_and_responses_any(
    typed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "MAX_STRINGS", 5)
    two = [RequestInput(name=name, shape=[3], datatype="BYTES", data=["a"] * 3) for name in "xy"]
    many = InferenceRequest(model_name="m" * 5000, inputs=two)
    with pytest.raises(InvalidPayload, match="take 5 elements at most"):
        decode_request(encode_request(many, typed=typed))
    length, parts = binary.encode_request(many)
    with pytest.raises(InvalidPayload, match="take 5 elements at most"):
        binary.decode_request(b"".join(parts), length)
    outputs = [ResponseOutput(name=one.name, shape=[3], datatype="BYTES", data=one.data) for one in two]
    answer = InferenceResponse("m", outputs)
    assert decode_response(encode_response(answer, typed=typed)).outputs[1].data == [b"a"] * 3


@pytest.mark.parametrize(
    ("datatype", "values", "wrong"),
    [
        ("FP64", [1.5, None, "NaN"], True),
        ("FP32", [1, 2.5], 1e300),
        ("INT32", [1, 2.0], 2**31),
        ("UINT64", [1, 2**64 - 1], -1),
        ("BOOL", [True, 0, 1], 2),
    ],
)
def test_long_lists_of_numbers(datatype: str, values: list[Any], wrong: Any) -> None:
    kind = Datatype(datatype)
    many = (values * COUNT)[:COUNT]
    short = np.concatenate([numeric([value], kind) for value in values])
    np.testing.assert_array_equal(numeric(many, kind), np.resize(short, COUNT))
    with pytest.raises(InvalidPayload, match=rf"data\[{COUNT}\]"):
        numeric([*many, wrong], kind)
