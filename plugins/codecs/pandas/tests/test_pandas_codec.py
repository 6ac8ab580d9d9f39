"""PandasCodec: every kind of column survives a round trip through JSON; shapes are honoured or refused."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsrv.codecs import DecodedInput
from mlsrv.errors import Code, CodecError
from mlsrv_pandas import JsonCodec, PandasCodec
from mlsrv_protocol import json
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput

LOOP: list[Any] = []
LOOP.append(LOOP)
PANDAS_3 = int(pd.__version__.partition(".")[0]) >= 3
INTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def through_json(frame: pd.DataFrame, **options: Any) -> pd.DataFrame:
    """Encode, write, read, decode: as a request and as a response, which must agree."""
    sent = json.encode_request(PandasCodec.encode_request(frame, **options))
    found = PandasCodec.decode_request(json.decode_request(sent))
    response = PandasCodec.encode_response("m", frame, "v1", **options)
    received = json.decode_response(json.encode_response(response))
    assert (received.model_name, received.model_version) == ("m", "v1")
    pd.testing.assert_frame_equal(PandasCodec.decode_response(received), found)
    return found


def written(column: Any) -> dict[str, Any]:
    """The JSON form of a column "x" as an output, name and shape left out."""
    (output,) = PandasCodec.encode_response("m", pd.DataFrame({"x": column})).outputs
    found: dict[str, Any] = output.dict()
    assert found.pop("name") == "x"
    assert found.pop("shape") == [len(column), 1]
    return found


# --- round trips
# ---------------------------------------------------------------------------------------------------

COLUMNS: dict[str, Any] = {
    **{dtype: pd.Series([0, 1, 100], dtype=dtype) for dtype in INTS},
    "float16": pd.Series([1.5, np.nan, -np.inf], dtype="float16"),
    "float32": pd.Series([1.5, np.nan, np.inf], dtype="float32"),
    "float64": pd.Series([0.1, np.nan, -0.0]),
    "bool": pd.Series([True, False, True]),
    "text": pd.Series(["a", "", "é😀"]),
    "text with None": pd.Series(["a", None, ""]),
    "object text": pd.Series(["a", "b", "c"], dtype=object),
    "object text with None": pd.Series(["a", None, "c"], dtype=object),
    "string": pd.Series(["a", "b", "c"], dtype="string"),
    "string with NA": pd.Series(["a", pd.NA, "c"], dtype="string"),
    "bytes": pd.Series([b"a", b"\xff\x00", b""]),
    "category": pd.Series(["b", "a", "b"], dtype="category"),
    "ordered": pd.Series(pd.Categorical(["b", "a", "b"], ["c", "b", "a"], ordered=True)),
    "category with NA": pd.Series(pd.Categorical(["b", None, "b"], ["a", "b"])),
    "category of int8": pd.Series(pd.Categorical(pd.Series([3, 1, 3], dtype="int8"))),
    "category of floats": pd.Series(pd.Categorical([1.5, 2.5, None])),
    "category of bools": pd.Series(pd.Categorical([True, False, True])),
    "category of dates": pd.Series(
        pd.Categorical(pd.to_datetime(["2024-01-02", "1999-12-31", "2024-01-02"]), ordered=True)
    ),
    "category of nanoseconds with NaT": pd.Series(
        pd.Categorical(
            pd.to_datetime(["2024-01-02 00:00:00.000000001", None, "2024-01-03"], format="ISO8601")
        )
    ),
    "category of zoned dates": pd.Series(
        pd.Categorical(pd.to_datetime(["2024-03-31", "2024-04-01"]).tz_localize("Europe/Berlin"))
    ),
    "Int64": pd.Series([1, 2, 3], dtype="Int64"),
    "Int64 with NA": pd.Series([1, pd.NA, -(2**53)], dtype="Int64"),
    "Int64 with NA and 0, beyond doubles": pd.Series([0, pd.NA, -(2**53) - 1], dtype="Int64"),
    "Int64 with NA, beyond doubles": pd.Series([1, pd.NA, 2**63 - 1], dtype="Int64"),
    "UInt8 of NA": pd.Series([pd.NA, pd.NA, pd.NA], dtype="UInt8"),
    "Float32 with NA": pd.Series([1.5, pd.NA, 2.5], dtype="Float32"),
    "boolean": pd.Series([True, False, True], dtype="boolean"),
    "boolean with NA": pd.Series([True, pd.NA, False], dtype="boolean"),
    "objects": pd.Series([{"a": [1, None]}, {}, {"b": {"c": "d"}}]),
    "lists": pd.Series([[1, 2], [], ["a", None]]),
    "mixed": pd.Series(["a", 1, None], dtype=object),
    "object ints": pd.Series([1, 2, 3], dtype=object),
    "object text with NaN": pd.Series(["a", np.nan, "c"], dtype=object),
    "object text with NA": pd.Series(["a", pd.NA, "c"], dtype=object),
    "object text with NaT": pd.Series(["a", pd.NaT, "c"], dtype=object),
    "object NaN": pd.Series([np.nan] * 3, dtype=object),
    "object None": pd.Series([None] * 3, dtype=object),
    "object NA": pd.Series([pd.NA] * 3, dtype=object),
    "bools with None": pd.Series([True, None, False], dtype=object),
    "bools with NaN": pd.Series([True, np.nan, False], dtype=object),
    "objects with NaN": pd.Series([{"a": 1}, np.nan, {}], dtype=object),
    "bytes with None": pd.Series([b"a", None, b"\xff"], dtype=object),
    "bytes with NaN": pd.Series([b"a", np.nan, b"\xff"], dtype=object),
    "object dates": pd.Series([date(2024, 1, 2), date(1, 1, 1), date(9999, 12, 31)], dtype=object),
    "object dates with None": pd.Series([date(2024, 1, 2), None, date(1, 1, 1)], dtype=object),
    "object moments": pd.Series([datetime(2024, 1, 2, 3), datetime(1, 1, 1)] * 2, dtype=object)[:3],
    "object moments with NaT": pd.Series([datetime(2024, 1, 2, 3, tzinfo=UTC), pd.NaT, pd.NaT], dtype=object),
    "object moments in ns": pd.Series([pd.Timestamp("2024-01-02T00:00:00.123456789")] * 3, dtype=object),
    "decimals": pd.Series([Decimal("1.10"), Decimal("-2e400"), Decimal(0)], dtype=object),
    "decimals with None": pd.Series([Decimal("1.10"), None, Decimal(0)], dtype=object),
    "uuids": pd.Series([UUID(int=1), UUID(int=2), UUID(int=3)], dtype=object),
    "uuids with NaN": pd.Series([UUID(int=1), np.nan, UUID(int=3)], dtype=object),
    "dates": pd.Series(
        pd.to_datetime(["2020-01-01", "2021-06-01 12:00:00.5", "1969-12-31"], format="ISO8601")
    ),
    "dates in seconds": pd.Series(pd.to_datetime(["2020-01-01", "2021-06-01"] * 2)[:3]).astype(
        "datetime64[s]"
    ),
    "dates in ns": pd.Series(pd.to_datetime(["2020-01-01T00:00:00.123456789"] * 3)),
    "dates with NaT": pd.Series(pd.to_datetime(["2020-01-01", None, "2021-01-01"])),
    "dates of a zone": pd.Series(
        pd.to_datetime(["2020-01-01", "2020-07-01", "2020-10-25T00:30"], format="ISO8601")
    )
    .dt.tz_localize("UTC")
    .dt.tz_convert("Europe/Berlin"),
    "dates of a zone with NaT": pd.Series(pd.to_datetime(["2020-01-01", None, "2020-07-01"])).dt.tz_localize(
        "UTC"
    ),
    "dates with an offset": pd.Series(pd.to_datetime(["2020-01-01T00:00:00+01:30"] * 3)),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("use_bytes", [True, False])
def test_a_column_survives_a_round_trip(kind: str, use_bytes: bool) -> None:
    frame = pd.DataFrame({"x": COLUMNS[kind].reset_index(drop=True)})
    pd.testing.assert_frame_equal(through_json(frame, use_bytes=use_bytes), frame, check_exact=True)


def test_all_of_them_survive_together() -> None:
    frame = pd.DataFrame({kind: column.reset_index(drop=True) for kind, column in COLUMNS.items()})
    pd.testing.assert_frame_equal(through_json(frame), frame, check_exact=True)


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_without_rows_survives(kind: str) -> None:
    frame = pd.DataFrame({"x": COLUMNS[kind][:0].reset_index(drop=True)})
    found = through_json(frame)
    assert found.shape == (0, 1)
    if frame.x.dtype == object:  # without a cell, objects and texts look the same
        assert found.x.dtype in (object, pd.Series(["a"]).dtype)
    else:
        assert found.x.dtype == frame.x.dtype


texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
moments = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
KINDS: list[tuple[st.SearchStrategy[Any], Any]] = [
    (st.integers(-(2**63), 2**63 - 1), "int64"),
    (st.integers(0, 2**64 - 1), "uint64"),
    (st.none() | st.integers(-(2**63), 2**63 - 1), "Int64"),
    (st.none() | st.integers(0, 255), "UInt8"),
    (st.floats(), "float64"),
    (st.floats(width=32), "float32"),
    (st.booleans(), "bool"),
    (st.none() | st.booleans(), "boolean"),
    (texts, None),
    (st.none() | texts, "string"),
    (st.none() | texts, object),
    (st.lists(json_values, max_size=3), object),
    (st.none() | st.sampled_from("abc"), pd.CategoricalDtype(list("cba"), ordered=True)),
    (st.none() | moments, "datetime64[us]"),
    (st.none() | moments, "datetime64[ns]"),
]
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(st.data(), st.lists(texts.filter(bool), unique=True, max_size=4), st.integers(1, 4))
def test_frames_survive_a_round_trip(data: st.DataObject, names: list[str], rows: int) -> None:
    columns = {}
    for name in names:
        cells, dtype = data.draw(st.sampled_from(KINDS))
        columns[name] = pd.Series(data.draw(st.lists(cells, min_size=rows, max_size=rows)), dtype=dtype)
    frame = pd.DataFrame(columns)
    pd.testing.assert_frame_equal(
        through_json(frame), frame, check_exact=True, check_column_type=False, check_index_type=False
    )


@patient
@given(
    st.lists(moments, min_size=1, max_size=5), st.sampled_from(["Europe/Berlin", "America/St_Johns", "UTC"])
)
def test_dates_of_a_zone_survive_a_round_trip(dates: list[datetime], zone: str) -> None:
    column = pd.Series(dates).dt.tz_localize("UTC").dt.tz_convert(zone)
    frame = pd.DataFrame({"x": column})
    pd.testing.assert_frame_equal(through_json(frame), frame, check_exact=True)


# --- what is written
# -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([1.5, np.nan]), {"datatype": "FP64", "data": [1.5, None]}),
        (pd.Series([1, 2], dtype="uint8"), {"datatype": "UINT8", "data": [1, 2]}),
        (pd.Series([True, False]), {"datatype": "BOOL", "data": [True, False]}),
        (
            pd.Series(["a", "b"]),
            {"datatype": "BYTES", "parameters": {"content_type": "str"}, "data": ["a", "b"]},
        ),
        (
            pd.Series([b"\xff", b"a"]),
            {"datatype": "BYTES", "parameters": {"content_type": "base64"}, "data": ["/w==", "YQ=="]},
        ),
        (
            pd.Series([{"a": 1}, None], dtype=object),
            {
                "datatype": "BYTES",
                "parameters": {"content_type": "pd_json", "pd_missing": "None"},
                "data": ['{"a": 1}', "null"],
            },
        ),
        (
            pd.Series([np.array([1, 2]), np.float32(0.5)], dtype=object),
            {"datatype": "BYTES", "parameters": {"content_type": "pd_json"}, "data": ["[1, 2]", "0.5"]},
        ),
        (
            pd.Series([1, pd.NA], dtype="Int64"),
            {"datatype": "FP64", "parameters": {"pd_dtype": "Int64"}, "data": [1.0, None]},
        ),
        (
            pd.Series(pd.to_datetime(["2022-01-11T11:00:00+01:00"])),
            {
                "datatype": "BYTES",
                "parameters": {
                    "content_type": "datetime",
                    "pd_dtype": f"datetime64[{'us' if PANDAS_3 else 'ns'}, UTC+01:00]",
                },
                "data": ["2022-01-11T11:00:00+01:00"],
            },
        ),
        (
            pd.Series(pd.Categorical(["b", "a"], ["a", "b"], ordered=True)),
            {
                "datatype": "BYTES",
                "parameters": {
                    "content_type": "str",
                    "pd_dtype": "category",
                    "pd_categories": '["a", "b"]',
                    "pd_ordered": True,
                },
                "data": ["b", "a"],
            },
        ),
    ],
)
def test_columns_are_written_as_tensors(column: Any, expected: dict[str, Any]) -> None:
    assert written(column) == expected


def test_names_are_texts_and_the_index_stays_behind() -> None:
    frame = pd.DataFrame([[1, 2.5]], columns=[0, 1], index=[42])
    request = PandasCodec.encode_request(frame)
    assert [given.name for given in request.inputs] == ["0", "1"]
    assert PandasCodec.decode_request(request).index.tolist() == [0]


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), 'Two columns are called "a"'),
        (pd.DataFrame([[1, 2]], columns=["1", 1]), 'Two columns are called "1"'),
        (pd.DataFrame({"x": pd.to_timedelta([1])}), 'Column "x" has the dtype timedelta64'),
        (
            pd.DataFrame({"x": pd.cut(pd.Series([1, 2]), 2)}),
            "element 0 cannot be written as JSON: it holds a Interval",
        ),
        (pd.DataFrame({"x": [1j]}), 'Column "x" has the dtype complex128, which no tensor holds'),
        (pd.DataFrame({"x": pd.period_range("2020", periods=1)}), 'Column "x" has the dtype period'),
        (
            pd.DataFrame({"x": [object()]}),
            'Tensor "x": element 0 cannot be written as JSON: it holds a object',
        ),
        (
            pd.DataFrame({"x": [[timedelta(1)]]}),
            "element 0 cannot be written as JSON: it holds a timedelta",
        ),
        (pd.DataFrame({"x": [{(1, 2): 3}]}), "element 0 cannot be written as JSON: a key is a tuple"),
        (pd.DataFrame({"x": [LOOP]}), "element 0 cannot be written as JSON"),
        (pd.DataFrame({"x": np.array([1], np.longdouble)}), 'Column "x": no datatype holds'),
        ([[1]], 'The content type "pd" encodes a DataFrame, not a list'),
    ],
)
def test_columns_without_a_tensor_form_are_refused(frame: Any, sentence: str) -> None:
    with pytest.raises(CodecError, match=sentence):
        PandasCodec.encode_request(frame)


def test_it_encodes_frames_alone() -> None:
    assert PandasCodec.can_encode(pd.DataFrame())
    assert not PandasCodec.can_encode(pd.Series([1]))
    assert not PandasCodec.can_encode({"a": [1]})
    assert not JsonCodec.can_encode([{}])


# --- what is read
# --------------------------------------------------------------------------------------------------


def column(datatype: str, shape: list[int], data: Any, **parameters: Any) -> pd.Series[Any]:
    tensor = RequestInput("x", shape, datatype, data, parameters)
    found: pd.Series[Any] = PandasCodec.decode_request(InferenceRequest([tensor])).x
    return found


def test_the_payload_of_the_manual() -> None:
    request = InferenceRequest.parse_obj(
        {
            "parameters": {"content_type": "pd"},
            "inputs": [
                {
                    "name": "First Name",
                    "datatype": "BYTES",
                    "parameters": {"content_type": "str"},
                    "shape": [2],
                    "data": ["Joanne", "Michael"],
                },
                {"name": "Age", "datatype": "INT32", "shape": [2], "data": [34, 22]},
            ],
        }
    )
    found = PandasCodec.decode_request(request)
    assert found.to_dict("list") == {"First Name": ["Joanne", "Michael"], "Age": [34, 22]}
    assert found.Age.dtype == "int32"


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "parameters", "cells"),
    [
        ("INT32", [2], [1, 2], {}, [1, 2]),
        ("INT32", [2, 1], [[1], [2]], {}, [1, 2]),
        ("INT32", [2, 1, 1], [1, 2], {}, [1, 2]),
        ("INT32", [], [7], {}, [7]),
        ("BF16", [1], [1.5], {}, [1.5]),
        ("BYTES", [2], ["a", b"b"], {}, ["a", "b"]),
        ("BYTES", [2], [b"\xff", b"b"], {}, [b"\xff", "b"]),
        ("BYTES", [1], ["YQ=="], {"content_type": "base64"}, [b"a"]),
        ("BYTES", [1], ["2022-01-11"], {"content_type": "datetime"}, [pd.Timestamp("2022-01-11")]),
        ("BYTES", [2], ["[1]", b"2"], {"content_type": "pd_json"}, [[1], 2]),
        ("BYTES", [2], ["a", "b"], {"pd_dtype": "category", "pd_categories": '["b", "a"]'}, ["a", "b"]),
        ("FP32", [2], [1, 2], {"pd_dtype": "UInt16"}, [1, 2]),
    ],
)
def test_tensors_are_read_as_columns(
    datatype: str, shape: list[int], data: Any, parameters: dict[str, Any], cells: list[Any]
) -> None:
    assert column(datatype, shape, data, **parameters).tolist() == cells


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "parameters", "sentence"),
    [
        (
            "INT32",
            [2, 2],
            [1, 2, 3, 4],
            {},
            r'Column "x": a column has the shape \[rows\] or \[rows, 1\], not \[2, 2\]',
        ),
        ("INT32", [1, 4], [1, 2, 3, 4], {}, r"not \[1, 4\]; send one tensor for each column"),
        ("BYTES", [2, 2], ["a", "b", "c", "d"], {}, r"not \[2, 2\]"),
        ("INT32", [3], [1, 2], {}, r"data has 2 elements, but the shape \[3\] means 3"),
        ("BYTES", [1], ["a", "b"], {}, r"data has 2 elements, but the shape \[1\] means 1"),
        ("INT32", [1], [None], {}, r'Column "x": data\[0\] is'),
        ("INT32", [1], [1.5], {}, r"data\[0\] is 1\.5, but INT32 takes only"),
        ("BYTES", [1], [1], {}, r"data\[0\] is 1"),
        ("BYTES", [1], [b"\xff"], {"content_type": "str"}, 'Column "x": element 0 is not UTF-8'),
        ("BYTES", [2], ["YQ==", "%"], {"content_type": "base64"}, "element 1 is not base64"),
        ("BYTES", [1], ["today"], {"content_type": "datetime"}, "element 0 is not a date of ISO 8601"),
        ("BYTES", [1], ["{"], {"content_type": "pd_json"}, 'Tensor "x": element 0 is not JSON'),
        ("BYTES", [1], ["[" * 100_000], {"content_type": "pd_json"}, 'Tensor "x": element 0 is not JSON'),
        (
            "INT32",
            [1],
            [1],
            {"content_type": "pd_json"},
            'the content type "pd_json" takes the datatype BYTES',
        ),
        (
            "INT32",
            [1],
            [1],
            {"content_type": "str"},
            'the content type "str" takes the datatype BYTES, not INT32',
        ),
        ("INT32", [1], [1], {"pd_dtype": "timedelta64[ns]"}, 'Column "x": unknown pd_dtype \'timedelta64'),
        ("BYTES", [1], ["a"], {"pd_dtype": ["Int64"]}, "unknown pd_dtype"),
        ("BYTES", [1], ["a"], {"pd_dtype": "datetime64[ns, dateutil//etc/passwd]"}, "unknown pd_dtype"),
        (
            "BYTES",
            [1],
            ["2020-01-01"],
            {"pd_dtype": "datetime64[ns, No/Where]"},
            'Column "x" does not fit the dtype',
        ),
        ("BYTES", [1], ["a"], {"pd_dtype": "Int64"}, 'Column "x" does not fit the dtype Int64'),
        ("FP64", [1], [1.5], {"pd_dtype": "Int64"}, 'Column "x" does not fit the dtype Int64'),
        ("BYTES", [1], ["a"], {"pd_dtype": "datetime64[ns]"}, 'Column "x" does not fit the dtype datetime64'),
        ("BYTES", [1], ["a"], {"pd_dtype": "category"}, "pd_categories must be a JSON array in a text"),
        (
            "BYTES",
            [1],
            ["a"],
            {"pd_dtype": "category", "pd_categories": '["b"]'},
            "a value is not among pd_categories",
        ),
        (
            "BYTES",
            [1],
            ["a"],
            {"pd_dtype": "category", "pd_categories": '["a", "a"]'},
            "pd_categories must hold different values",
        ),
        (
            "BYTES",
            [1],
            ["a"],
            {"pd_dtype": "category", "pd_categories": '["a"]', "pd_categories_dtype": "int8"},
            "unknown pd_categories_dtype 'int8'",
        ),
        (
            "BYTES",
            [1],
            ["a"],
            {"pd_dtype": "category", "pd_categories": '["a"]', "pd_categories_dtype": "datetime64[ns]"},
            'Column "x" does not fit the dtype category',
        ),
        (
            "BYTES",
            [1],
            ["2024-01-01"],
            {
                "pd_dtype": "category",
                "pd_categories": '["2024-01-02"]',
                "pd_categories_dtype": "datetime64[ns]",
            },
            "a value is not among pd_categories",
        ),
    ],
)
def test_tensors_of_another_shape_are_refused(
    datatype: str, shape: list[int], data: Any, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(CodecError, match=sentence) as caught:
        column(datatype, shape, data, **parameters)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_columns_of_different_lengths_are_refused() -> None:
    inputs = [RequestInput("a", [2], "INT32", [1, 2]), RequestInput("b", [1], "BYTES", ["x"])]
    with pytest.raises(CodecError, match='same number of rows: "a" has 2, "b" has 1'):
        PandasCodec.decode_request(InferenceRequest(inputs))


def test_names_must_be_unique() -> None:
    outputs = [ResponseOutput("a", [1], "INT32", [1]), ResponseOutput("a", [1], "INT32", [2])]
    with pytest.raises(CodecError, match='Two columns are called "a"'):
        PandasCodec.decode_response(InferenceResponse("m", outputs))


def test_no_columns_are_an_empty_frame() -> None:
    assert PandasCodec.decode_request(InferenceRequest([])).shape == (0, 0)


# --- columns that another codec decoded
# ----------------------------------------------------------------------------


def decoded(value: Any, **parameters: Any) -> list[Any]:
    tensor = DecodedInput("x", [2, 2], "INT32", value, parameters)
    found: list[Any] = PandasCodec.decode_request(InferenceRequest([tensor])).x.tolist()
    return found


def test_decoded_inputs_are_taken_as_they_are() -> None:
    assert decoded(np.array([[1], [2]])) == [1, 2]
    assert decoded(np.array(["a", "b"], object)) == ["a", "b"]
    assert decoded(["a", "b"]) == ["a", "b"]
    assert decoded([{"a": 1}, 2], content_type="pd_json") == [{"a": 1}, 2]
    assert decoded(pd.Series([1, 2], index=[5, 6])) == [1, 2]
    assert decoded([1, None], pd_dtype="Int64") == [1, pd.NA]


def test_rows_of_a_decoded_array_become_cells() -> None:
    cells = decoded(np.array([[1, 2], [3, 4]]))
    assert [cell.tolist() for cell in cells] == [[1, 2], [3, 4]]


def test_decoded_values_that_are_no_list_of_rows_are_refused() -> None:
    with pytest.raises(CodecError, match='Column "x" was decoded as a dict, which is not a list of rows'):
        decoded({"a": 1})


# --- pd_json for one tensor
# ----------------------------------------------------------------------------------------


@given(st.lists(json_values, max_size=4), st.booleans())
def test_json_values_survive_a_round_trip(values: list[Any], use_bytes: bool) -> None:
    request = InferenceRequest([JsonCodec.encode_input("x", values, use_bytes=use_bytes)])
    (received,) = json.decode_request(json.encode_request(request)).inputs
    assert JsonCodec.decode_input(received) == values
    assert JsonCodec.decode_output(JsonCodec.encode_output("x", values, use_bytes=use_bytes)) == values


# --- missing values and cells that JSON does not know
# --------------------------------------------------------------


JSON = {"content_type": "pd_json"}


class Label(str, Enum):
    CAT = "cat"


def cells_of(*texts: str, **parameters: Any) -> list[Any]:
    return list(column("BYTES", [len(texts)], list(texts), content_type="pd_json", **parameters))


@pytest.mark.parametrize("cells", [['"a"'], [], ["null"], ["[1]"], ["true"], ["1", '"a"']])
def test_gaps_are_nan_whatever_the_other_cells_are(cells: list[str]) -> None:
    """Which cells there are may depend on the other requests of a batch."""
    assert math.isnan(cells_of(*cells, "null")[-1])


@pytest.mark.parametrize(("name", "value"), [("None", None), ("NA", pd.NA), ("NaT", pd.NaT)])
def test_a_parameter_names_the_missing_value(name: str, value: Any) -> None:
    assert cells_of('"a"', "null", pd_missing=name)[1] is value
    assert cells_of("1", "null", pd_missing=name)[1] is value


def test_gaps_of_a_decoded_input_are_the_same() -> None:
    assert math.isnan(decoded(["a", None], content_type="pd_json")[1])
    assert decoded(["a", None], content_type="pd_json", pd_missing="None") == ["a", None]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"pd_missing": "nil"}, "Column \"x\": unknown pd_missing 'nil'; it is one of None, NaN, NaT, NA"),
        ({"pd_missing": ["NaN"]}, "unknown pd_missing"),
        ({"pd_cells": "pickle"}, "Column \"x\": unknown pd_cells 'pickle'; it is one of base64, "),
        ({"pd_cells": "decimal"}, 'Column "x": element 0 does not fit pd_cells decimal'),
        ({"pd_cells": "uuid"}, "element 0 does not fit pd_cells uuid"),
        ({"pd_cells": "date"}, "element 0 does not fit pd_cells date"),
        ({"pd_cells": "datetime"}, "element 0 does not fit pd_cells datetime"),
        ({"pd_cells": "base64"}, "element 0 does not fit pd_cells base64"),
    ],
)
def test_unknown_parameters_of_cells_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    for text in ('"%"', "[]"):
        with pytest.raises(CodecError, match=sentence):
            cells_of(text, **parameters)


@pytest.mark.parametrize(
    ("cells", "parameters", "data"),
    [
        ([date(2024, 1, 2)], {"content_type": "datetime", "pd_cells": "date"}, ["2024-01-02"]),
        ([datetime(2024, 1, 2)], {"content_type": "datetime", "pd_dtype": "object"}, ["2024-01-02T00:00:00"]),
        (
            [b"x", None],
            {"content_type": "pd_json", "pd_cells": "base64", "pd_missing": "None"},
            ['"eA=="', "null"],
        ),
        ([Decimal("1.10")], {"content_type": "pd_json", "pd_cells": "decimal"}, ['"1.10"']),
        ([[1.0, np.nan]], JSON, ["[1.0, null]"]),
        ([{"a": np.array([np.nan, np.inf])}], JSON, ['{"a": [null, "Infinity"]}']),
        ([(pd.NaT, pd.NA, np.float32("nan"))], JSON, ["[null, null, null]"]),
        (
            [{np.int64(1): {date(2024, 1, 2): b"x"}}],
            JSON,
            ['{"1": {"2024-01-02": "eA=="}}'],
        ),
        ([[np.datetime64("2024-01-02", "ns")]], JSON, ['["2024-01-02T00:00:00"]']),
        ([[time(1, 2), {3, 1}]], JSON, ['["01:02:00", [1, 3]]']),
        ([[UUID(int=1)]], JSON, [f'["{UUID(int=1)}"]']),
        ([np.ma.array([1, 2], mask=[0, 1])], JSON, ["[1, null]"]),
        ([[Label.CAT], {Label.CAT: 1}], JSON, ['["cat"]', '{"cat": 1}']),
        (
            [date(2024, 1, 2), datetime(2024, 1, 2)],
            JSON,
            ['"2024-01-02"', '"2024-01-02T00:00:00"'],
        ),
        ([10**30, "a"], JSON, [str(10**30), '"a"']),
    ],
)
def test_cells_that_json_does_not_know(cells: list[Any], parameters: dict[str, Any], data: list[str]) -> None:
    column = pd.Series([None] * len(cells), dtype=object)
    for row, cell in enumerate(cells):
        column.iat[row] = cell
    assert written(column) == {"datatype": "BYTES", "parameters": parameters, "data": data}


def test_texts_and_names_of_subclasses_count_by_their_value() -> None:
    frame = pd.DataFrame({Label.CAT: pd.Series([Label.CAT, np.str_("a")], dtype=object)})
    for use_bytes in (True, False):
        [output] = PandasCodec.encode_response("m", frame, use_bytes=use_bytes).outputs
        plain = output.dict()
        assert (plain["name"], plain["data"]) == ("cat", ["cat", "a"])
        assert plain["parameters"]["content_type"] == "str"


def test_masked_columns_are_missing() -> None:
    frame = pd.DataFrame({"x": np.ma.array([1.5, -999.0], mask=[0, 1])})
    assert written(frame.x)["data"] == [1.5, None]
