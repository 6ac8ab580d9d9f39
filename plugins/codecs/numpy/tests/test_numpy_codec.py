"""What each datatype becomes, what is refused, and that nothing is copied."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlsrv.codecs.content import DecodedInput
from mlsrv.errors import Code, CodecError
from mlsrv_numpy import NumpyCodec, NumpyRequestCodec
from mlsrv_protocol.datatypes import Datatype, float32_to_bf16
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput


def decode(datatype: str, shape: list[int], data: Any) -> np.ndarray[Any, Any]:
    return NumpyCodec.decode_input(RequestInput("x", shape, datatype, data))


# --- decoding ---


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [(member.value, member.dtype) for member in Datatype if member.dtype is not None and member != "BF16"],
)
def test_numeric_datatypes_have_the_dtype_of_their_width(datatype: str, dtype: np.dtype[Any]) -> None:
    for data in ([0, 1, 1, 0], [[0, 1], [1, 0]], np.array([0, 1, 1, 0], dtype)):
        found = decode(datatype, [2, 2], data)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.array([[0, 1], [1, 0]], dtype))


def test_the_declared_shape_counts_not_the_nesting() -> None:
    assert decode("INT64", [2, 3], [1, 2, 3, 4, 5, 6]).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert decode("INT64", [3, 2], [[1, 2, 3], [4, 5, 6]]).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert decode("FP32", [6], np.zeros((2, 3), np.float32)).shape == (6,)
    assert decode("FP32", [], [7]).shape == ()
    assert decode("FP32", [0, 4], []).shape == (0, 4)


def test_wire_buffers_are_not_copied() -> None:
    buffer = np.frombuffer(np.arange(6, dtype="<f4").tobytes(), "<f4")
    found = decode("FP32", [2, 3], buffer)
    assert np.shares_memory(found, buffer)


def test_bf16_becomes_float32() -> None:
    bits = float32_to_bf16(np.array([1.5, -2.0, np.nan], np.float32))
    found = decode("BF16", [3, 1], bits)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([[1.5], [-2.0], [np.nan]], np.float32))
    assert decode("BF16", [2], [1.0, 2.5]).tolist() == [1.0, 2.5]


def test_bytes_become_an_object_array_of_what_was_sent() -> None:
    for data in (["a", b"\x00long\x00", ""], [["a"], [b"\x00long\x00"], [""]]):
        found = decode("BYTES", [3, 1], data)
        assert found.dtype == object
        assert found.tolist() == [["a"], [b"\x00long\x00"], [""]]
    assert decode("BYTES", [1], "one").tolist() == ["one"]
    assert decode("BYTES", [2], np.array(["one", "three"])).tolist() == ["one", "three"]


def test_null_is_nan_in_floats() -> None:
    np.testing.assert_array_equal(
        decode("FP32", [3], [1.0, None, "Infinity"]), np.array([1, np.nan, np.inf], np.float32)
    )


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "sentence"),
    [
        (
            "FP32",
            [2, 2],
            [1, 2, 3],
            r'Tensor "x": data has 3 elements, which do not fill the shape \[2, 2\]\.',
        ),
        ("FP32", [2], [1], r'Tensor "x": data has 1 element, which do not fill the shape \[2\]\.'),
        ("BYTES", [3], ["a"], r'Tensor "x": data has 1 element, which do not fill'),
        ("INT64", [1], [1.5], r"data\[0\] is 1\.5, but INT64 takes only whole numbers"),
        ("INT8", [1], [300], r"data\[0\] is 300, but INT8 takes only"),
        ("INT64", [1], [None], r"data\[0\] is"),
        ("INT64", [1], ["1"], r"data\[0\] is"),
        ("BOOL", [1], [2], r"data\[0\] is 2, but BOOL takes only"),
        ("FP32", [2, 2], [[1, 2], [3]], "ragged"),
        ("BYTES", [2], [["a"], "bc"], "ragged"),
        ("FP32", [1], [1e39], r"data\[0\] is 1e\+39, but FP32"),
    ],
)
def test_data_that_does_not_fit_is_refused(datatype: str, shape: list[int], data: Any, sentence: str) -> None:
    with pytest.raises(CodecError, match=sentence) as caught:
        decode(datatype, shape, data)
    assert caught.value.code is Code.INVALID_ARGUMENT


# --- encoding ---


@pytest.mark.parametrize(
    ("payload", "shape", "datatype", "data"),
    [
        (np.array([True, False]), [2, 1], "BOOL", [True, False]),
        (np.array([1, 2], np.uint8), [2, 1], "UINT8", [1, 2]),
        (np.array([[1, 2]], np.int16), [1, 2], "INT16", [1, 2]),
        (np.array([[[1.5]]], np.float16), [1, 1, 1], "FP16", [1.5]),
        (np.float64(2.5), [1], "FP64", [2.5]),
        (np.array(3), [1], "INT64", [3]),
        (np.zeros((0, 4), np.float32), [0, 4], "FP32", []),
        (np.zeros(0, np.float32), [0, 1], "FP32", []),
        (np.array(["a", "bcd"]), [2, 1], "BYTES", ["a", "bcd"]),
        (np.array([b"a", b"bcd"]), [2, 1], "BYTES", [b"a", b"bcd"]),
        (np.array([["a", b"b\x00"]], object), [1, 2], "BYTES", ["a", b"b\x00"]),
        (np.array([np.str_("a"), np.bytes_(b"b")], object), [2, 1], "BYTES", ["a", b"b"]),
        (np.array([True, False], object), [2, 1], "BOOL", [True, False]),
        (np.array([np.int64(1), 2], object), [2, 1], "INT64", [1, 2]),
        (np.array([1, 2.5], object), [2, 1], "FP64", [1.0, 2.5]),
        ([[1.0, 2.0]], [1, 2], "FP64", [1.0, 2.0]),
    ],
)
def test_arrays_are_encoded(payload: Any, shape: list[int], datatype: str, data: list[Any]) -> None:
    for made in (NumpyCodec.encode_output("y", payload), NumpyCodec.encode_input("y", payload)):
        assert made.name == "y"
        assert made.shape == shape
        assert made.datatype == datatype
        assert list(made.data) == data
        assert made.parameters is not None
        assert made.parameters.dict() == {"content_type": "np"}
        if datatype != "BYTES":
            assert isinstance(made.data, np.ndarray)
            assert made.data.ndim == 1


def test_nan_and_infinities_stay_what_they_are() -> None:
    made = NumpyCodec.encode_output("y", np.array([np.nan, np.inf, -np.inf]))
    np.testing.assert_array_equal(made.data, [np.nan, np.inf, -np.inf])


def test_memory_layout_and_byte_order_do_not_matter() -> None:
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    layouts = [
        np.array(rows, order="F"),
        np.array(rows, ">f8"),
        np.repeat(np.array(rows), 2, axis=1)[:, ::2],
        np.array(rows).T.copy().T,
    ]
    for payload in layouts:
        made = NumpyCodec.encode_output("y", payload)
        assert made.data.dtype == np.dtype("<f8")
        assert made.data.flags.c_contiguous
        assert made.data.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_contiguous_payloads_are_not_copied() -> None:
    payload = np.zeros((3, 4), np.float32)
    assert np.shares_memory(NumpyCodec.encode_output("y", payload).data, payload)


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (np.array([1j]), r'^Tensor "y": .*numpy complex128'),
        (np.array(["2024-01-01"], "datetime64[D]"), "numpy datetime64"),
        (np.array([1], "timedelta64[s]"), "numpy timedelta64"),
        (np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")]), "No datatype"),
        (np.array([1.0], np.longdouble), "No datatype"),
        (np.array(["a", None], object), "element 1 of the object array is a NoneType"),
        (np.array(["a", 1], object), "element 1 of the object array is a int"),
        (np.array([True, 1], object), "element 0 of the object array is a bool"),
        (np.array([{}], object), "element 0 of the object array is a dict"),
        (np.array([2**63], object), "INT64 takes only whole numbers"),
        ([[1, 2], [3]], "ragged"),
    ],
)
def test_values_without_a_datatype_are_refused(payload: Any, sentence: str) -> None:
    with pytest.raises(CodecError, match=sentence):
        NumpyCodec.encode_output("y", payload)


def test_it_encodes_arrays_and_scalars_alone() -> None:
    assert NumpyCodec.can_encode(np.zeros(1))
    assert NumpyCodec.can_encode(np.float32(1))
    assert not NumpyCodec.can_encode([1.0])
    assert not NumpyCodec.can_encode("text")


# --- round trips ---

_dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
_shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=3)

# Drawing may be slow on a busy machine; what is tested is not how fast.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(st.data())
def test_numeric_arrays_survive_a_round_trip(data: st.DataObject) -> None:
    payload = data.draw(hnp.arrays(_dtypes, _shapes))
    payload = data.draw(st.sampled_from([payload, np.asfortranarray(payload), payload[::-1]]))
    made = NumpyCodec.encode_output("y", payload)
    found = NumpyCodec.decode_output(made)
    assert made.data.size == found.size
    assert found.dtype == payload.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, payload)


@patient
@given(hnp.arrays(object, _shapes, elements=st.text() | st.binary()))
def test_texts_survive_a_round_trip(payload: np.ndarray[Any, Any]) -> None:
    found = NumpyCodec.decode_input(NumpyCodec.encode_input("x", payload))
    assert found.shape == payload.shape
    assert found.tolist() == payload.tolist()


@patient
@given(hnp.arrays(_dtypes, st.integers(0, 5)))
def test_a_vector_comes_back_as_a_column(payload: np.ndarray[Any, Any]) -> None:
    found = NumpyCodec.decode_output(NumpyCodec.encode_output("y", payload))
    np.testing.assert_array_equal(found, payload[:, None])


# --- whole requests ---


def test_a_request_is_its_only_tensor() -> None:
    request = NumpyRequestCodec.encode_request(np.array([[1, 2], [3, 4]]))
    assert request.parameters is not None
    assert request.parameters.content_type == "np"
    assert [tensor.name for tensor in request.inputs] == ["input-1"]
    assert request.inputs[0].shape == [2, 2]
    assert NumpyRequestCodec.decode_request(request).tolist() == [[1, 2], [3, 4]]


def test_a_response_is_its_only_tensor() -> None:
    response = NumpyRequestCodec.encode_response("m", np.array([1.5]), "v2")
    assert (response.model_name, response.model_version) == ("m", "v2")
    assert response.parameters is not None
    assert response.parameters.content_type == "np"
    assert [tensor.name for tensor in response.outputs] == ["output-1"]
    assert NumpyRequestCodec.decode_response(response).tolist() == [[1.5]]
    assert NumpyRequestCodec.can_encode(np.zeros(1))
    assert NumpyRequestCodec.InputCodec is NumpyCodec


def test_an_input_that_another_codec_decoded_is_handed_on() -> None:
    decoded = DecodedInput("x", [2], "BYTES", ["a", "b"])
    assert NumpyRequestCodec.decode_request(InferenceRequest([decoded])) == ["a", "b"]


def test_any_other_number_of_tensors_is_refused() -> None:
    one = RequestInput("a", [1], "INT32", [1])
    two = RequestInput("b", [1], "INT32", [1])
    with pytest.raises(CodecError, match=r'exactly one tensor, but its inputs are 2: "a", "b"\.'):
        NumpyRequestCodec.decode_request(InferenceRequest([one, two]))
    with pytest.raises(CodecError, match=r"its outputs are 0\."):
        NumpyRequestCodec.decode_response(InferenceResponse(model_name="m", outputs=[]))
    output = ResponseOutput("a", [1], "INT32", [1])
    assert NumpyRequestCodec.decode_response(
        InferenceResponse(model_name="m", outputs=[output])
    ).tolist() == [1]


# --- masks and texts of subclasses ---


class Label(str, Enum):
    CAT = "cat"


def test_masked_floating_point_numbers_are_missing() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        output = NumpyCodec.encode_output("y", np.ma.array([1.5, -999.0], mask=[0, 1], dtype=dtype))
        np.testing.assert_array_equal(output.data, [1.5, np.nan])
        assert output.dict()["data"] == [1.5, None]
    response = NumpyRequestCodec.encode_response("m", np.ma.array([1.5, -999.0], mask=[0, 1]))
    assert response.outputs[0].dict()["data"] == [1.5, None]


@pytest.mark.parametrize("values", [[7, 9], [True, False], ["a", "b"], [b"a", b"b"]])
def test_other_masked_elements_are_refused(values: Any) -> None:
    for array in (np.ma.array(values, mask=[0, 1]), np.ma.array(np.array(values, object), mask=[0, 1])):
        with pytest.raises(CodecError, match=r'Tensor "y": data\[1\] is masked, and .* has no missing value'):
            NumpyCodec.encode_output("y", array)
        with pytest.raises(CodecError, match="masked"):
            NumpyCodec.encode_input("y", array)
        assert NumpyCodec.encode_output("y", array[:1]).shape == [1, 1]


def test_texts_and_names_of_subclasses_count_by_their_value() -> None:
    output = NumpyCodec.encode_output(np.str_("y"), np.array([Label.CAT, "a"], object))
    assert (output.dict()["name"], output.data) == ("y", ["cat", "a"])
    assert NumpyCodec.encode_output("y", np.str_("text")).data == ["text"]


def test_integers_of_an_object_array_are_not_rounded() -> None:
    assert NumpyCodec.encode_output("y", np.array([2**53, 0.5], object)).data.tolist() == [2.0**53, 0.5]
    for values in ([2**53 + 1, 0.5], [-(2**63) - 1, 1], [2**63, -1], [2**63 + 1, 1]):
        with pytest.raises(CodecError, match=r"which FP64 would round|but INT64 takes only"):
            NumpyCodec.encode_output("y", np.array(values, object))
