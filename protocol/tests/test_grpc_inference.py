"""Inference messages over gRPC, compared with protobuf's own parser."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsrv_protocol import json
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidOutput, InvalidPayload
from mlsrv_protocol.grpc import (
    decode_request,
    decode_response,
    decode_stream_response,
    encode_request,
    encode_response,
    encode_stream_error,
    message_class,
    request_id_of,
)
from mlsrv_protocol.grpc.wire_format import len_field
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

Request = message_class("inference.ModelInferRequest")
Response = message_class("inference.ModelInferResponse")
StreamResponse = message_class("inference.ModelStreamInferResponse")
Parameter = message_class("inference.InferParameter")
FIELDS = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
RAW_ONLY = (Datatype.FP16, Datatype.BF16)


def message(**fields: Any) -> bytes:
    return bytes(Request(model_name="m", **fields).SerializeToString())


def one(datatype: str, shape: list[int], *raw: bytes, **contents: Any) -> bytes:
    tensor: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": shape}
    if contents:
        tensor["contents"] = contents
    return message(inputs=[tensor], raw_input_contents=raw)


def elements(datatype: Datatype) -> st.SearchStrategy[Any]:
    if datatype is Datatype.BYTES:
        return st.binary(max_size=200)
    if datatype is Datatype.BOOL:
        return st.booleans()
    if datatype.is_integer:
        info = np.iinfo(datatype.dtype)
        return st.integers(int(info.min), int(info.max))
    if datatype is Datatype.BF16:
        return st.integers(0, 2**16 - 1)
    return st.floats(width={Datatype.FP16: 16, Datatype.FP32: 32, Datatype.FP64: 64}[datatype])


@st.composite
def tensors(draw: st.DrawFn, datatype: Datatype) -> RequestInput:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    count = math.prod(shape)
    data: Any = draw(st.lists(elements(datatype), min_size=count, max_size=count))
    if datatype.dtype is not None:
        data = np.array(data, datatype.dtype)
    return RequestInput(name="x", shape=shape, datatype=datatype, data=data)


def same(left: RequestInput | ResponseOutput, right: RequestInput | ResponseOutput) -> bool:
    if (left.name, left.shape, left.datatype) != (right.name, right.shape, right.datatype):
        return False
    if left.datatype is Datatype.BYTES:
        return [bytes(value) for value in left.data] == [bytes(value) for value in right.data]
    return bool(left.data.dtype == right.data.dtype and left.data.tobytes() == right.data.tobytes())


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("datatype", Datatype)
@settings(max_examples=40)
@given(data=st.data())
def test_a_request_survives_and_protobuf_agrees(datatype: Datatype, typed: bool, data: st.DataObject) -> None:
    tensor = data.draw(tensors(datatype))
    request = InferenceRequest([tensor], "id", model_name="m", model_version="v")
    body = encode_request(request, typed=typed)
    decoded, was_typed = decode_request(body)
    assert was_typed is (typed and datatype not in RAW_ONLY)
    assert (decoded.id, decoded.model_name, decoded.model_version) == ("id", "m", "v")
    assert same(decoded.inputs[0], tensor)
    assert decoded.parameters is None
    # Protobuf reads what was written here, and what it writes is read here.
    theirs = Request.FromString(body)
    assert len(theirs.raw_input_contents) == (0 if was_typed else 1)
    again, _ = decode_request(theirs.SerializeToString())
    assert same(again.inputs[0], tensor)
    if was_typed:
        values = getattr(theirs.inputs[0].contents, FIELDS[datatype])
        expected = tensor.data if datatype is Datatype.BYTES else tensor.data.tolist()
        assert repr(list(values)) == repr(expected)


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("datatype", Datatype)
@settings(max_examples=40)
@given(data=st.data())
def test_a_response_survives(datatype: Datatype, typed: bool, data: st.DataObject) -> None:
    tensor = data.draw(tensors(datatype))
    output = ResponseOutput(tensor.name, tensor.shape, tensor.datatype, tensor.data)
    response = InferenceResponse(model_name="m", outputs=[output], model_version="v", id="i")
    body = encode_response(response, typed=typed)
    decoded = decode_response(body)
    assert (decoded.model_name, decoded.model_version, decoded.id) == ("m", "v", "i")
    assert same(decoded.outputs[0], output)
    assert len(Response.FromString(body).raw_output_contents) == (0 if typed and datatype in FIELDS else 1)


@pytest.mark.parametrize("datatype", Datatype)
@settings(max_examples=40)
@given(data=st.data())
def test_every_json_request_has_an_equal_grpc_request(datatype: Datatype, data: st.DataObject) -> None:
    tensor = data.draw(tensors(datatype))
    if datatype is Datatype.BYTES:
        tensor.data = [value.decode("latin-1") for value in tensor.data]
    request = InferenceRequest([tensor], "id", Parameters(a=1, b="x", c=True, d=0.5), [RequestOutput("y")])
    over_json = json.decode_request(json.encode_request(request))
    over_grpc, _ = decode_request(encode_request(request))
    if datatype is Datatype.BYTES:
        over_grpc.inputs[0].data = [value.decode() for value in over_grpc.inputs[0].data]
    if datatype is Datatype.BF16:  # JSON has no payloads of NaN
        over_grpc.inputs[0].data = np.where(_is_nan(tensor.data), 0x7FC0, tensor.data).astype(np.uint16)
        over_json.inputs[0].data = np.where(_is_nan(tensor.data), 0x7FC0, over_json.inputs[0].data)
    assert over_grpc == over_json


def _is_nan(bits: Any) -> Any:
    return (bits & 0x7FFF) > 0x7F80


def problem(decode: Callable[[bytes], object], body: bytes) -> str:
    """Why a message is refused; "fine." when it is not."""
    try:
        decode(body)
    except InvalidPayload as error:
        return str(error)
    return "fine."


@given(st.binary(max_size=300))
def test_random_bytes_raise_only_invalid_payload(body: bytes) -> None:
    for decode in (decode_request, decode_response, decode_stream_response):
        assert problem(decode, body).endswith(".")


@given(st.data())
def test_a_damaged_message_is_refused_or_decoded(data: st.DataObject) -> None:
    tensors_ = [
        RequestInput("x", [2], "FP32", np.ones(2, np.float32)),
        RequestInput("s", [2], "BYTES", [b"a", b"bc"]),
    ]
    request = InferenceRequest(tensors_, "id", Parameters(a=1), [RequestOutput("y")], "m", "v")
    body = bytearray(encode_request(request, typed=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert problem(decode_request, bytes(body[: data.draw(st.integers(0, len(body)))])).endswith(".")


REFUSED = {
    "wrong field": (one("FP32", [1], int_contents=[1]), r'inputs\[0\] "x": it has int_contents; FP32 takes'),
    "two fields": (
        one("FP32", [1], fp32_contents=[1], int_contents=[1]),
        "has int_contents and fp32_contents",
    ),
    "int8 too large": (one("INT8", [1], int_contents=[128]), r"data\[0\] is 128, but INT8"),
    "int16 too small": (one("INT16", [1], int_contents=[-32769]), "INT16 takes"),
    "uint8 too large": (one("UINT8", [2], uint_contents=[1, 256]), r"data\[1\] is 256"),
    "typed FP16": (one("FP16", [1], fp32_contents=[1]), "FP16 has no typed contents"),
    "typed BF16": (one("BF16", [1], bytes_contents=[b"ab"]), "BF16 has no typed contents"),
    "too few": (one("FP32", [3], fp32_contents=[1, 2]), r"2 elements, but shape \[3\] means 3"),
    "too many": (one("INT64", [1], int64_contents=[1, 2]), r"2 elements, but shape \[1\] means 1"),
    "too few bytes elements": (one("BYTES", [2], bytes_contents=[b"a"]), "1 element,"),
    "raw too short": (one("FP32", [2], b"1234567"), r"7 bytes, but FP32 of shape \[2\] takes 8"),
    "raw too long": (one("INT8", [2], b"123"), "3 bytes"),
    "raw bool": (one("BOOL", [2], b"\x00\x02"), r"data\[1\] is 2, but BOOL"),
    "raw bytes cut": (one("BYTES", [1], b"\x05\x00\x00\x00abc"), "ends inside element 0"),
    "raw bytes length cut": (one("BYTES", [1], b"\x01\x00\x00\x00a\x01"), "inside the length of element 1"),
    "raw bytes too many": (one("BYTES", [1], b"\x00" * 8), "2 elements"),
    "raw bytes too few": (one("BYTES", [2], b"\x04\x00\x00\x00abcd"), "1 element"),
    "no data": (one("FP32", [1]), "neither contents nor raw contents"),
    "raw and typed": (one("FP32", [1], b"1234", fp32_contents=[1]), "exactly one of the two"),
    "two raw for one": (one("FP32", [1], b"1234", b"1234"), "There are 2 raw contents for 1 inputs"),
    "negative dimension": (one("FP32", [-1], b"1234"), "shape contains -1"),
    "absurd shape": (one("INT8", [2**62, 4], b""), "more elements than any tensor"),
    "many dimensions": (one("INT8", [1] * 400, b"1"), "too many dimensions|dimensions"),
    "datatype": (one("FP99", [1], b"1"), r'inputs\[0\]: "FP99" is not a datatype'),
    "no datatype": (one("", [1], b"1"), "datatype is missing"),
    "no name": (message(inputs=[{"datatype": "FP32", "shape": [0]}]), r"inputs\[0\]: name"),
    "names twice": (
        message(inputs=[{"name": "x", "datatype": "FP32", "shape": [0]}] * 2),
        'two tensors called "x"',
    ),
    "outputs twice": (message(outputs=[{"name": "y"}] * 2), 'outputs has two tensors called "y"'),
    "output without a name": (message(outputs=[{}]), r"outputs\[0\]"),
    "sequence": (
        message(parameters={"sequence_id": Parameter(int64_param=7)}),
        "sequences are not supported",
    ),
    "parameter without a value": (message(parameters={"a": Parameter()}), "parameters.a has no value"),
    "content type": (message(parameters={"content_type": Parameter(int64_param=7)}), "must be a string"),
    "input in shared memory": (
        message(
            inputs=[
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [1],
                    "parameters": {"shared_memory_region": Parameter(string_param="r")},
                }
            ]
        ),
        "shared memory is not supported",
    ),
    "output in shared memory": (
        message(outputs=[{"name": "y", "parameters": {"shared_memory_region": Parameter(string_param="r")}}]),
        r'outputs\[0\] "y": parameters.shared_memory_region',
    ),
    "cut off": (b"\x0a\x05ab", "not a ModelInferRequest: it is cut off"),
    "not UTF-8": (b"\x0a\x01\xff", "not valid UTF-8"),
    "name not UTF-8": (len_field(0x2A, b"\x0a\x01\xff"), "not valid UTF-8"),
    "damaged contents": (
        len_field(0x2A, b"\x0a\x01x\x12\x05INT32\x1a\x01\x01" + len_field(0x2A, b"\x12\x05a")),
        "not a InferTensorContents",
    ),
    "shape cut off": (len_field(0x2A, b"\x0a\x01x\x12\x05INT32\x1a\x01\xff"), "cut off"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_message_that_breaks_a_rule_is_refused(case: str) -> None:
    body, says = REFUSED[case]
    with pytest.raises(InvalidPayload, match=says) as caught:
        decode_request(body)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 300


def test_shapes_without_elements() -> None:
    for body in (one("FP32", [0]), one("BYTES", [2, 0], b""), one("INT8", [0], int_contents=[])):
        request, _ = decode_request(body)
        assert len(request.inputs[0].data) == 0
    scalar, _ = decode_request(one("BYTES", [], bytes_contents=[b"abc"]))
    assert (scalar.inputs[0].shape, scalar.inputs[0].data) == ([], [b"abc"])


@pytest.mark.parametrize(
    ("inputs", "raw", "values", "typed"),
    [
        ("tt", 0, [1.0, 1.0], True),
        ("rr", 2, [2.0, 2.0], False),
        ("tr", 1, [1.0, 2.0], True),
        ("rt", 1, [2.0, 1.0], True),
        ("ee", 2, [2.0, 2.0], False),
        ("te", 1, [1.0, 2.0], True),
        ("", 0, [], False),
    ],
)
def test_typed_raw_and_mixed_contents(inputs: str, raw: int, values: list[float], typed: bool) -> None:
    """t: typed contents, r: none, e: an empty message."""
    contents = {"t": {"contents": {"fp32_contents": [1]}}, "r": {}, "e": {"contents": {}}}
    described = [
        {"name": f"x{at}", "datatype": "FP32", "shape": [1], **contents[kind]}
        for at, kind in enumerate(inputs)
    ]
    body = message(inputs=described, raw_input_contents=[np.float32(2).tobytes()] * raw)
    request, was_typed = decode_request(body)
    assert [tensor.data[0] for tensor in request.inputs] == values
    assert was_typed is typed


def test_every_kind_of_parameter() -> None:
    kinds = {
        "b": Parameter(bool_param=False),
        "i": Parameter(int64_param=-(2**63)),
        "s": Parameter(string_param="é"),
        "d": Parameter(double_param=0.1),
        "u": Parameter(uint64_param=2**64 - 1),
    }
    body = message(
        parameters=kinds | {"content_type": Parameter(string_param="np")},
        inputs=[{"name": "x", "datatype": "INT8", "shape": [0], "parameters": kinds}],
        outputs=[{"name": "y", "parameters": kinds}],
    )
    request, _ = decode_request(body)
    values = {"b": False, "i": -(2**63), "s": "é", "d": 0.1, "u": 2**64 - 1}
    assert request.parameters == Parameters("np", **values)
    assert request.inputs[0].parameters == Parameters(**values)
    assert request.outputs == [RequestOutput("y", Parameters(**values))]
    again, _ = decode_request(encode_request(request))
    assert again == request


def test_parameters_that_grpc_cannot_carry_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "mlsrv.grpc")
    parameters = Parameters(
        headers={"a": "b"},
        huge=2**64,
        holding=[{1, 2}],
        none=None,
        kept=np.float32(0.5),
        count=np.int8(3),
    )
    response = decode_response(encode_response(InferenceResponse(model_name="m", parameters=parameters)))
    assert response.parameters == Parameters(kept=0.5, count=3)
    assert [record.getMessage().split()[2] for record in caplog.records] == ['"huge"', '"holding"']


@dataclass
class Point:
    x: int
    y: int


def test_arrays_and_objects_in_parameters_are_json_texts() -> None:
    parameters = Parameters(
        labels=["a, b", 'the "c"', "é"],
        pair=(1, 2.5),
        nested={"a": [None]},
        array=np.array([1, 2]),
        scalar=np.array(3),
        point=Point(1, 2),
    )
    output = ResponseOutput("y", [1], "INT8", [1], parameters)
    response = decode_response(encode_response(InferenceResponse("m", [output])))
    assert response.outputs[0].parameters == Parameters(
        labels='["a, b","the \\"c\\"","é"]',
        pair="[1,2.5]",
        nested='{"a":[null]}',
        array="[1,2]",
        scalar=3,
        point='{"x":1,"y":2}',
    )


def test_absent_fields_are_none() -> None:
    request, typed = decode_request(b"")
    assert request == InferenceRequest([])
    assert (request.id, request.model_version, request.outputs, request.parameters, typed) == (
        *[None] * 4,
        False,
    )


LONG = len_field(0x7A, bytes(5000))
"""A field that nobody knows, and that makes any message a large one."""


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("datatype", Datatype)
@settings(max_examples=40)
@given(data=st.data())
def test_small_and_large_messages_are_decoded_alike(
    datatype: Datatype, typed: bool, data: st.DataObject
) -> None:
    request = InferenceRequest([data.draw(tensors(datatype))], "id", model_name="m")
    body = encode_request(request, typed=typed)
    assert decode_request(body) == decode_request(LONG + body)


@pytest.mark.parametrize("case", REFUSED)
def test_small_and_large_messages_are_refused_alike(case: str) -> None:
    body, _ = REFUSED[case]
    assert problem(decode_request, body) == problem(decode_request, LONG + body) != "fine."


def test_raw_data_is_a_view_of_the_message() -> None:
    array = np.arange(2000, dtype=np.float32)
    for typed in (False, True):
        body = encode_request(InferenceRequest([RequestInput("x", [2000], "FP32", array)]), typed=typed)
        data = decode_request(body)[0].inputs[0].data
        assert np.shares_memory(data, np.frombuffer(body, np.uint8))
        assert np.array_equal(data, array)


def test_repeated_and_unpacked_fields_are_merged() -> None:
    """Encoders may write a message in parts, and numbers one by one."""
    head = b"\x0a\x01x\x12\x04FP32" + b"\x18\x01" + b"\x1a\x01\x03"
    parts = len_field(0x2A, b"\x35" + np.float32(1).tobytes()) + len_field(
        0x2A, len_field(0x32, np.float32([2, 3]).tobytes())
    )
    body = len_field(0x2A, head + parts)
    theirs = Request.FromString(body)
    assert list(theirs.inputs[0].contents.fp32_contents) == [1, 2, 3]
    request, typed = decode_request(body)
    assert (request.inputs[0].shape, request.inputs[0].data.tolist(), typed) == ([1, 3], [1, 2, 3], True)


def test_texts_whose_shape_counts_characters() -> None:
    """As MLServer's manual sends them, typed."""
    text = '{"a": "é"}'.encode()
    for shape in ([len(text)], [1], [1, len(text)]):
        request, _ = decode_request(one("BYTES", shape, bytes_contents=[text]))
        raw, _ = decode_request(one("BYTES", shape, len(text).to_bytes(4, "little") + text))
        assert (raw.inputs[0].shape, raw.inputs[0].data) == (request.inputs[0].shape, [text])
        assert request.inputs[0].data == [text]
        assert math.prod(request.inputs[0].shape) == 1
    for typed in (False, True):
        sent = InferenceRequest([RequestInput("x", [len(text)], "BYTES", [text])])
        received, _ = decode_request(encode_request(sent, typed=typed))
        assert (received.inputs[0].shape, received.inputs[0].data) == ([1], [text])


def test_any_number_but_zero_is_true() -> None:
    head = b"\x0a\x01x\x12\x04BOOL\x1a\x01\x03"
    for packed in (b"\x01\x00\x05", b"\x01\x00\xac\x02"):
        body = len_field(0x2A, head + len_field(0x2A, len_field(0x0A, packed)))
        assert decode_request(body)[0].inputs[0].data.tolist() == [True, False, True]


def test_unknown_fields_are_ignored() -> None:
    body = message(id="1") + b"\xf8\x06\x01" + len_field(0x7A, b"?") + b"\x7d1234" + b"\x7912345678"
    assert decode_request(body)[0].id == "1"


@pytest.mark.parametrize("datatype", RAW_ONLY)
def test_one_half_precision_output_makes_all_raw(datatype: Datatype) -> None:
    outputs = [
        ResponseOutput("a", [1], datatype, np.zeros(1, datatype.dtype)),
        ResponseOutput("b", [1], "INT32", [1]),
    ]
    theirs = Response.FromString(encode_response(InferenceResponse("m", outputs), typed=True))
    assert [bytes(raw) for raw in theirs.raw_output_contents] == [b"\0\0", b"\1\0\0\0"]
    assert not any(output.HasField("contents") for output in theirs.outputs)


def test_an_empty_typed_output_is_typed() -> None:
    outputs = [ResponseOutput("a", [0], "INT32", []), ResponseOutput("b", [0], "BYTES", [])]
    theirs = Response.FromString(encode_response(InferenceResponse("m", outputs), typed=True))
    assert all(output.HasField("contents") for output in theirs.outputs)
    assert len(theirs.raw_output_contents) == 0


@pytest.mark.parametrize("typed", [False, True])
def test_data_of_model_authors_is_normalised(typed: bool) -> None:
    outputs = [
        ResponseOutput("a", (2, 2), "FP32", [[1, 2], [3, 4]]),
        ResponseOutput("b", [2], "BYTES", ["é", b"\xff"]),
        ResponseOutput("c", [np.int64(1)], "INT64", np.array([[5]], np.int8)),
        ResponseOutput("d", [1], "BYTES", np.array(["x"], object)),
    ]
    decoded = decode_response(encode_response(InferenceResponse("m", outputs), typed=typed))
    assert [list(output.data) for output in decoded.outputs] == [
        [1, 2, 3, 4],
        ["é".encode(), b"\xff"],
        [5],
        [b"x"],
    ]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (ResponseOutput("y", [3], "FP32", [1.0]), r'outputs\[0\] "y": data has 1 element'),
        (ResponseOutput("y", [1], "INT8", [300]), "INT8 takes only"),
        (ResponseOutput("y", [1], "BYTES", [1]), "BYTES takes only"),
        (ResponseOutput("y", [1], "BYTES", ["\ud800"]), "surrogate"),
        (ResponseOutput("", [1], "INT8", [1]), "name"),
        (ResponseOutput("\ud800", [1], "INT8", [1]), "surrogate"),
        (ResponseOutput("y", [1.5], "INT8", [1]), "shape"),
        (ResponseOutput("y", [1], "INT8", [1], Parameters(a="\ud800")), "surrogate"),
    ],
)
def test_an_output_that_cannot_be_sent_is_an_invalid_output(output: ResponseOutput, says: str) -> None:
    for typed in (False, True):
        with pytest.raises(InvalidOutput, match=says):
            encode_response(InferenceResponse("m", [output]), typed=typed)
    with pytest.raises(InvalidOutput, match="surrogate"):
        encode_response(InferenceResponse("m", id="\ud800"))


def test_an_input_that_cannot_be_sent_is_an_invalid_payload() -> None:
    with pytest.raises(InvalidPayload, match=r'inputs\[0\] "x"'):
        encode_request(InferenceRequest([RequestInput("x", [2], "FP32", [1])]))


def test_stream_messages_survive_a_round_trip() -> None:
    response = InferenceResponse("m", [ResponseOutput("y", [1], "INT8", [1])], id="7")
    for final in (True, False):
        body = encode_response(response, stream=True, final=final)
        theirs = StreamResponse.FromString(body)
        assert theirs.infer_response.parameters["triton_final_response"].bool_param is final
        decoded = decode_stream_response(body)
        assert isinstance(decoded, InferenceResponse)
        assert (decoded.id, decoded.outputs[0].data.tolist()) == ("7", [1])
    assert response.parameters is None
    failed = encode_stream_error("It \ud800 failed.", "7")
    theirs = StreamResponse.FromString(failed)
    assert (theirs.error_message, theirs.infer_response.id) == ("It ? failed.", "7")
    assert decode_stream_response(failed) == "It ? failed."
    with pytest.raises(InvalidPayload, match="ModelStreamInferResponse"):
        decode_stream_response(b"\x0a")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (one("FP99", [1]) + len_field(0x1A, b"7"), "7"),
        (b"", ""),
        (b"\x1a\x09", ""),
        (len_field(0x1A, b"\xff"), ""),
    ],
)
def test_the_id_is_found_in_a_wrong_request(body: bytes, expected: str) -> None:
    assert request_id_of(body) == expected


def test_many_tiny_fields_are_refused_quickly() -> None:
    with pytest.raises(InvalidPayload, match="more than"):
        decode_request(b"\x3a\x00" * 200_000)
