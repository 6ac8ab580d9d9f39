"""Arrays of other classes than numpy's own, and texts of subclasses of `str`, over every wire form."""

from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Any

import numpy as np
import pytest

from mlsrv_protocol import Datatype, InferenceResponse, InvalidOutput, InvalidPayload, ResponseOutput, json
from mlsrv_protocol.binary import decode_response as decode_binary
from mlsrv_protocol.binary import encode_response as encode_binary
from mlsrv_protocol.grpc import decode_response, encode_response
from mlsrv_protocol.plain_arrays import plain_array
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.types import RequestInput


class Label(str, Enum):
    CAT = "cat"


class Out(StrEnum):
    Y = "y"


def masked(values: Any, mask: Any, dtype: Any = None) -> Any:
    return np.ma.array(values, mask=mask, dtype=dtype)


def over_json(response: InferenceResponse) -> InferenceResponse:
    return json.decode_response(json.encode_response(response))


def over_binary(response: InferenceResponse) -> InferenceResponse:
    size, pieces = encode_binary(response, {output.name for output in response.outputs})
    body = b"".join(pieces)
    return decode_binary(body, size)


def over_grpc(response: InferenceResponse) -> InferenceResponse:
    return decode_response(encode_response(response))


def over_typed_grpc(response: InferenceResponse) -> InferenceResponse:
    return decode_response(encode_response(response, typed=True))


WIRES = [over_json, over_binary, over_grpc, over_typed_grpc]
Wire = Callable[[InferenceResponse], InferenceResponse]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP64", masked([1.5, -999.0], [0, 1])),
        ("FP32", masked([1.5, -999.0], [0, 1], np.float32)),
        ("FP32", masked([[1.5], [-999.0]], [[0], [1]])),
        ("FP64", [np.float64(1.5), np.ma.masked]),
        ("FP64", [masked([1.5, -999.0], [0, 1])]),
        ("FP64", (1.5, np.ma.masked)),
    ],
)
def test_masked_floating_point_elements_are_missing(wire: Wire, datatype: str, data: Any) -> None:
    [output] = wire(InferenceResponse("m", [ResponseOutput("y", [2], datatype, data)])).outputs
    np.testing.assert_array_equal(output.data, [1.5, np.nan])


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT64", masked([7, 9], [0, 1])),
        ("INT64", masked([7.0, 9.0], [0, 1])),
        ("INT8", [np.int8(7), np.ma.masked]),
        ("INT64", [masked([7, 9], [0, 1])]),
        ("BOOL", masked([True, False], [0, 1])),
        ("BYTES", masked(["a", "b"], [0, 1])),
        ("BYTES", masked(np.array(["a", "b"], object), [0, 1])),
    ],
)
def test_masked_elements_without_a_missing_value_are_refused(wire: Wire, datatype: str, data: Any) -> None:
    with pytest.raises(InvalidOutput, match=r"data\[1\] is (masked|null|nan|NaN)|data\[0\] is an array"):
        wire(InferenceResponse("m", [ResponseOutput("y", [2], datatype, data)]))


@pytest.mark.parametrize("wire", WIRES)
def test_an_array_without_masked_elements_is_sent(wire: Wire) -> None:
    for data in (
        masked([7, 9], [0, 0]),
        np.ma.array([7, 9]),
        np.array([[7, 9]]).view(np.matrix),
        [np.ma.array([7, 9])],
    ):
        [output] = wire(InferenceResponse("m", [ResponseOutput("y", [2], "INT64", data)])).outputs
        assert output.data.tolist() == [7, 9]


def test_masked_integers_are_missing_where_the_datatype_has_a_missing_value() -> None:
    for datatype in (Datatype.FP16, Datatype.FP32, Datatype.FP64):
        np.testing.assert_array_equal(numeric(masked([7, 9], [0, 1]), datatype), [7, np.nan])


def test_plain_arrays() -> None:
    array = np.arange(3)
    assert plain_array(array) is array
    assert type(plain_array(np.array([[1]]).view(np.matrix))) is np.ndarray
    assert plain_array([Label.CAT, "a"]).tolist() == ["cat", "a"]
    assert plain_array(Label.CAT).tolist() == "cat"
    assert plain_array([[Label.CAT], ["a"]]).tolist() == [["cat"], ["a"]]
    assert plain_array(masked([[1, 2]], False)).tolist() == [[1, 2]]
    with pytest.raises(InvalidPayload, match=r"data\[2\] is masked, and int64 has no missing value"):
        plain_array(masked([[1, 2], [3, 4]], [[0, 0], [1, 0]]))


@pytest.mark.parametrize("wire", WIRES)
def test_texts_of_subclasses_count_by_their_value(wire: Wire) -> None:
    for name in (Label.CAT, np.unique(["cat"])[0], np.str_("cat")):
        output = ResponseOutput(name, [2], "BYTES", [name, Out.Y])
        output.name = name
        [found] = wire(InferenceResponse("m", [output])).outputs
        texts = [text.decode() if isinstance(text, bytes) else text for text in found.data]
        assert (found.name, texts) == ("cat", ["cat", "y"])


def test_names_of_messages_are_plain_texts() -> None:
    assert type(RequestInput(Out.Y, [1], "INT8", [1]).name) is str
    assert type(ResponseOutput(np.str_("y"), [1], "INT8", [1]).name) is str
