import pickle

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_protocol.datatypes import Datatype, bf16_to_float32, float32_to_bf16
from mlsrv_protocol.errors import InvalidPayload

TABLE = {
    "BOOL": ("?", 1, False, False),
    "UINT8": ("u1", 1, False, True),
    "UINT16": ("<u2", 2, False, True),
    "UINT32": ("<u4", 4, False, True),
    "UINT64": ("<u8", 8, False, True),
    "INT8": ("i1", 1, False, True),
    "INT16": ("<i2", 2, False, True),
    "INT32": ("<i4", 4, False, True),
    "INT64": ("<i8", 8, False, True),
    "FP16": ("<f2", 2, True, False),
    "FP32": ("<f4", 4, True, False),
    "FP64": ("<f8", 8, True, False),
    "BF16": ("<u2", 2, True, False),
    "BYTES": (None, None, False, False),
}


def test_the_table_is_complete() -> None:
    assert list(TABLE) == list(Datatype)


@pytest.mark.parametrize("name", TABLE)
def test_the_numpy_dtype_of_each_datatype(name: str) -> None:
    code, itemsize, is_float, is_integer = TABLE[name]
    datatype = Datatype(name)
    assert datatype.dtype == (None if code is None else np.dtype(code))
    assert (datatype.itemsize, datatype.is_float, datatype.is_integer) == (itemsize, is_float, is_integer)


@pytest.mark.parametrize("datatype", Datatype)
def test_a_datatype_equals_its_name(datatype: Datatype) -> None:
    assert str(datatype) == f"{datatype}" == f"{datatype:s}" == datatype.value == datatype
    assert orjson.dumps(datatype) == f'"{datatype}"'.encode()
    assert pickle.loads(pickle.dumps(datatype)) is datatype
    assert {str(datatype): 1}[datatype] == 1


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("BOOL", 0, 1),
        ("UINT8", 0, 255),
        ("INT64", -(2**63), 2**63 - 1),
        ("UINT64", 0, 2**64 - 1),
        ("FP16", -65504.0, 65504.0),
        ("FP32", -(2**128 - 2**104), 2**128 - 2**104),
        ("BF16", -(2**128 - 2**120), 2**128 - 2**120),
        ("BYTES", 0, 0),
    ],
)
def test_the_range_of_a_datatype(name: str, lowest: float, highest: float) -> None:
    assert (Datatype(name).lowest, Datatype(name).highest) == (lowest, highest)


@pytest.mark.parametrize("name", ["fp32", "FP99", "STRING", "", "x" * 10_000])
def test_an_unknown_datatype_is_refused_with_the_known_names(name: str) -> None:
    with pytest.raises(InvalidPayload, match=r"the datatypes are BOOL, UINT8, .*, BF16, BYTES") as caught:
        Datatype(name)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        *((code, name) for name, (code, *_) in TABLE.items() if code and name != "BF16"),
        (">f4", "FP32"),
        (">i8", "INT64"),
        (np.longlong, "INT64"),
        (bool, "BOOL"),
        (int, "INT64"),
        (float, "FP64"),
        (str, "BYTES"),
        ("U5", "BYTES"),
        ("S5", "BYTES"),
        (object, "BYTES"),
    ],
)
def test_the_datatype_of_an_array(dtype: object, expected: str) -> None:
    assert Datatype.from_numpy(dtype) is Datatype(expected)  # type: ignore[arg-type]  # dtype-like


@pytest.mark.parametrize("dtype", ["complex64", "M8[s]", "m8[s]", "V3", "i4,f4", np.longdouble])
def test_an_array_without_a_datatype_is_refused(dtype: object) -> None:
    with pytest.raises(InvalidPayload, match=r"^No datatype holds numpy .*; convert the array"):
        Datatype.from_numpy(dtype)  # type: ignore[arg-type]  # dtype-like


def test_every_bf16_pattern_survives_a_round_trip_through_float32() -> None:
    patterns = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    values = bf16_to_float32(patterns)
    assert values.shape == (256, 256)
    assert values.dtype == np.float32
    back = float32_to_bf16(values)
    nan = np.isnan(values)
    assert (back[~nan] == patterns[~nan]).all()
    assert np.isnan(bf16_to_float32(back[nan])).all()
    assert bf16_to_float32(np.uint16(0x3FC0)) == 1.5  # type: ignore[arg-type]  # a scalar is an array too


@given(st.floats(width=32, allow_nan=False))
def test_float32_becomes_the_nearest_bf16(value: float) -> None:
    pattern = int(float32_to_bf16(value)[()])
    magnitude = pattern & 0x7FFF
    assert (pattern >> 15) == (np.signbit(np.float32(value)))

    def distance(candidate: int) -> float:
        # The step after the largest finite value is where infinity stands when rounding.
        bits = np.array([candidate], dtype=np.uint16)
        other = 2.0**128 if candidate == 0x7F80 else float(bf16_to_float32(bits)[0])
        return abs(abs(value) - other)

    if np.isinf(value):
        assert magnitude == 0x7F80
        return
    neighbours = [candidate for candidate in (magnitude - 1, magnitude + 1) if 0 <= candidate <= 0x7F80]
    for neighbour in neighbours:
        assert distance(magnitude) <= distance(neighbour)
        if distance(magnitude) == distance(neighbour):
            assert magnitude % 2 == 0


def test_nan_stays_nan_in_bf16() -> None:
    signalling = np.array([0x7F800001, 0xFFFFFFFF], dtype=np.uint32).view(np.float32)
    assert np.isnan(bf16_to_float32(float32_to_bf16(signalling))).all()
