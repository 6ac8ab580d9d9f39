"""Binary tensors over HTTP."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlsrv_protocol import binary
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidOutput, InvalidPayload
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

NUMERIC = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]


def head(size: object, datatype: str = "FP32", shape: str = "[1]", more: str = "") -> bytes:
    parameters = f'"parameters":{{"binary_data_size":{size}}}'
    return (
        f'{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}",{parameters}{more}}}]}}'.encode()
    )


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Datatype, np.ndarray]:
    datatype = draw(st.sampled_from(NUMERIC))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    return datatype, draw(hnp.arrays(datatype.dtype, shape))


@given(arrays())
def test_a_numeric_tensor_keeps_every_bit_both_ways(case: tuple[Datatype, np.ndarray]) -> None:
    datatype, array = case
    tensor = RequestInput("x", list(array.shape), datatype, array)
    length, pieces = binary.encode_request(InferenceRequest([tensor]))
    found = binary.decode_request(b"".join(pieces), length).inputs[0]
    assert found.data.tobytes() == array.tobytes()
    assert (found.shape, found.datatype) == (list(array.shape), datatype)

    output = ResponseOutput("x", list(array.shape), datatype, array)
    length, pieces = binary.encode_response(InferenceResponse("m", [output]), binary.ALL)
    answered = binary.decode_response(b"".join(pieces), length).outputs[0]
    assert answered.data.tobytes() == array.tobytes()


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_bytes_keep_every_element(elements: list[bytes]) -> None:
    tensor = RequestInput("x", [len(elements)], "BYTES", elements)
    length, pieces = binary.encode_request(InferenceRequest([tensor]))
    assert binary.decode_request(b"".join(pieces), length).inputs[0].data == elements


def test_numbers_are_views_of_the_body() -> None:
    array = np.arange(1000, dtype=np.float32)
    length, pieces = binary.encode_request(InferenceRequest([RequestInput("x", [1000], "FP32", array)]))
    assert np.shares_memory(np.frombuffer(pieces[1], np.uint8), array)
    body = b"".join(pieces)
    found = binary.decode_request(body, length).inputs[0].data
    assert np.shares_memory(found, np.frombuffer(body, np.uint8))
    assert not found.flags.writeable


def test_json_and_binary_tensors_mix() -> None:
    text = (
        b'{"inputs":[{"name":"a","shape":[2],"datatype":"INT8","parameters":{"binary_data_size":2}},'
        b'{"name":"b","shape":[1],"datatype":"BYTES","data":["t"]},'
        b'{"name":"c","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5,"content_type":"str"}}]}'
    )
    request = binary.decode_request(text + b"\x01\xff" + b"\x01\x00\x00\x00z", len(text))
    assert [list(tensor.data) for tensor in request.inputs] == [[1, -1], ["t"], [b"z"]]
    assert request.inputs[2].parameters == Parameters(content_type="str")


@pytest.mark.parametrize(
    ("text", "tail", "says"),
    [
        (head(4), b"abc", "1 more bytes were expected"),
        (head(4), b"abcde", "1 bytes more than"),
        (head(8), b"abcdefgh", "FP32 of shape \\[1\\] takes 4"),
        (head(-1), b"", "binary_data_size is -1"),
        (head('"4"'), b"abcd", 'binary_data_size is "4"'),
        (head("4.0"), b"abcd", "binary_data_size is 4.0"),
        (head("true"), b"a", "binary_data_size is true"),
        (head(4, more=',"data":[1]'), b"abcd", "both set"),
        (head(2, "BOOL", "[2]"), b"\x01\x02", "BOOL takes only"),
        (head(5, "BYTES"), b"\x02\x00\x00\x00a", "ends inside element 0"),
        (head(3, "BYTES"), b"\x02\x00\x00", "too few for the lengths"),
        (head(4, "BYTES", "[2]"), b"\x00\x00\x00\x00", "too few for the lengths"),
        (head(8, "BYTES"), b"\x00" * 8, "2 elements"),
        (head(4, shape="[9223372036854775807]"), b"abcd", "more elements than any tensor"),
        (b'{"inputs":', b"", "JSON"),
    ],
)
def test_a_body_of_the_wrong_size_is_refused(text: bytes, tail: bytes, says: str) -> None:
    with pytest.raises(InvalidPayload, match=says):
        binary.decode_request(text + tail, len(text))


@pytest.mark.parametrize("value", ["-1", "x", "", "1.0", "11", "9" * 30, "٣"])
def test_a_header_must_be_a_length_within_the_body(value: str) -> None:
    with pytest.raises(InvalidPayload, match="Inference-Header-Content-Length"):
        binary.read_header(value, 10)
    assert binary.read_header("10", 10) == 10


def test_binary_outputs_are_the_listed_ones_or_the_default() -> None:
    tensor = RequestInput("x", [0], "FP32", [])
    every = InferenceRequest([tensor], parameters=Parameters(binary_data_output=True, other=1))
    assert "anything" in binary.pop_binary_outputs(every)
    assert every.parameters == Parameters(other=1)
    listed = InferenceRequest(
        [tensor],
        parameters=Parameters(binary_data_output=True),
        outputs=[RequestOutput("a", Parameters(binary_data=True)), RequestOutput("b")],
    )
    assert binary.pop_binary_outputs(listed) == {"a"}
    assert "x" not in binary.pop_binary_outputs(InferenceRequest([tensor]))
    assert "x" not in binary.pop_binary_outputs(InferenceRequest([tensor], outputs=[]))
    all_listed = InferenceRequest([tensor], outputs=[RequestOutput("a", Parameters(binary_data=True))])
    assert "a-1" in binary.pop_binary_outputs(all_listed)


def test_a_response_mixes_binary_and_json_outputs_and_errors_name_the_output() -> None:
    response = InferenceResponse(
        "m", [ResponseOutput("a", [1], "FP32", [1.5]), ResponseOutput("b", [1], "INT8", [3])], "2", "id"
    )
    length, pieces = binary.encode_response(response, {"a"})
    text = b"".join(pieces)
    assert text[length:] == np.float32(1.5).tobytes()
    assert b'"data":[3]' in text[:length]
    response.outputs[0].shape = [2]
    with pytest.raises(InvalidOutput, match='outputs\\[0\\] "a"'):
        binary.encode_response(response, {"a"})


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [([-1, 4], 32, [2, 4]), ([-1, -1], 8, [1, 2]), ([2, 2], 16, [2, 2]), ([-1], 0, [0])],
)
def test_a_raw_body_takes_its_shape_from_the_model(shape: list[int], size: int, expected: list[int]) -> None:
    request = binary.raw_request(bytes(size), [MetadataTensor("x", "FP32", shape)])
    assert request.inputs[0].shape == expected
    assert "any" in binary.pop_binary_outputs(request)


def test_a_raw_text_is_one_element() -> None:
    request = binary.raw_request(b"whole body", [MetadataTensor("x", "BYTES", [-1])])
    assert request.inputs[0].data == [b"whole body"]


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        ([], 4),
        ([MetadataTensor("x", "FP32", [-1]), MetadataTensor("y", "FP32", [-1])], 4),
        ([MetadataTensor("x", "FP32", [2, -1, -1])], 4),
        ([MetadataTensor("x", "FP32", [-1, 4])], 15),
        ([MetadataTensor("x", "FP32", [-1, 0])], 4),
        ([MetadataTensor("x", "FP32", [2])], 4),
    ],
)
def test_a_raw_body_that_does_not_fit_is_refused(inputs: list[MetadataTensor], size: int) -> None:
    with pytest.raises(InvalidPayload):
        binary.raw_request(bytes(size), inputs)
