"""MLServer 1.5's manual, section 8.1, with the package name replaced: content types and codecs."""

from __future__ import annotations

import asyncio
import datetime
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from mlsrv import MLModel, ModelSettings
from mlsrv.codecs import Base64Codec, DatetimeCodec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlsrv.codecs.string import StringRequestCodec
from mlsrv.errors import InvalidPayload
from mlsrv.types import InferenceRequest, InferenceResponse
from served import served

PEOPLE = {"First Name": ["Joanne", "Michael"], "Age": [34, 22]}
LETTERS = {"A": ["a1", "a2", "a3", "a4"], "B": ["b1", "b2", "b3", "b4"], "C": ["c1", "c2", "c3", "c4"]}


class EchoFrame(MLModel):
    """Answers with the DataFrame that it gets."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        frame: Any = self.decode_request(payload, default_codec=PandasCodec)
        return self.encode_response(frame)


async def post(url: str, model: str, body: dict[str, Any]) -> httpx.Response:
    return await asyncio.to_thread(httpx.post, f"{url}/v2/models/{model}/infer", json=body, timeout=30)


# --- 8.1.1 Usage
# ---------------------------------------------------------------------------------------------------

PAYLOAD = {
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


def test_a_payload_becomes_a_frame() -> None:
    found = PandasCodec.decode_request(InferenceRequest(**PAYLOAD))
    pd.testing.assert_frame_equal(found, pd.DataFrame(PEOPLE).astype({"Age": "int32"}))


async def test_a_frame_there_and_back() -> None:
    dataframe = pd.DataFrame(PEOPLE)
    raw_request = PandasCodec.encode_request(dataframe).dict()
    assert json.loads(json.dumps(raw_request)) == raw_request
    async with served([ModelSettings(name="foo", implementation=EchoFrame)], executor="inline") as server:
        raw_response = (await post(server.rest, "foo", raw_request)).json()
    inference_response = InferenceResponse(**raw_response)
    pd.testing.assert_frame_equal(PandasCodec.decode_response(inference_response), dataframe)


def test_nan_is_null() -> None:
    foo = np.array([[1.2, 2.3], [np.nan, 4.5]])
    encoded = NumpyCodec.encode_input("foo", foo).dict()
    assert encoded["datatype"] == "FP64"
    assert encoded["shape"] == [2, 2]
    assert encoded["data"] == [1.2, 2.3, None, 4.5]
    request = InferenceRequest.parse_raw(json.dumps({"inputs": [encoded]}))
    np.testing.assert_array_equal(NumpyRequestCodec.decode_request(request), foo)


METADATA = {
    "name": "people",
    "implementation": "models.Columns",
    "parameters": {"content_type": "pd"},
    "inputs": [
        {"name": "First Name", "datatype": "BYTES", "parameters": {"content_type": "str"}, "shape": [-1]},
        {"name": "Age", "datatype": "INT32", "shape": [-1]},
    ],
}
COLUMNS = """
from mlsrv import MLModel
from mlsrv.codecs import StringCodec
from mlsrv.types import InferenceResponse

class Columns(MLModel):
    async def predict(self, payload):
        found = self.decode_request(payload)
        texts = [type(found).__name__, *map(str, getattr(found, "columns", []))]
        return InferenceResponse(outputs=[StringCodec.encode_output("found", texts)])
"""


async def test_content_types_in_the_models_metadata(tmp_path: Path) -> None:
    (tmp_path / "model-settings.json").write_text(json.dumps(METADATA))
    (tmp_path / "models.py").write_text(COLUMNS)
    plain = {
        "inputs": [
            {"name": "First Name", "datatype": "BYTES", "shape": [2], "data": ["Joanne", "Michael"]},
            {"name": "Age", "datatype": "INT32", "shape": [2], "data": [34, 22]},
        ]
    }
    async with served([], model_repository_root=str(tmp_path), executor="inline") as server:
        (found,) = (await post(server.rest, "people", plain)).json()["outputs"]
        assert found["data"] == ["DataFrame", "First Name", "Age"]
        # What the request says takes precedence over the model's metadata.
        answer = await post(server.rest, "people", plain | {"parameters": {"content_type": "str"}})
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
        assert "exactly one tensor" in answer.json()["error"]


# --- 8.1.2 Available content types
# ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "codec"),
    [
        ("np", NumpyRequestCodec),
        ("np", NumpyCodec),
        ("pd", PandasCodec),
        ("str", StringRequestCodec),
        ("str", StringCodec),
        ("base64", Base64Codec),
        ("datetime", DatetimeCodec),
    ],
)
def test_the_table_of_content_types(content_type: str, codec: Any) -> None:
    assert codec.ContentType == content_type
    level = ("request", "response") if hasattr(codec, "decode_request") else ("input", "output")
    for what in level:
        assert callable(getattr(codec, f"encode_{what}"))
        assert callable(getattr(codec, f"decode_{what}"))


def test_numpy_arrays() -> None:
    foo = np.array([[1, 2], [3, 4]])
    inference_request = NumpyRequestCodec.encode_request(foo)
    assert inference_request.dict()["parameters"] == {"content_type": "np"}
    assert NumpyRequestCodec.decode_request(inference_request).tolist() == [[1, 2], [3, 4]]
    inference_request = InferenceRequest(inputs=[NumpyCodec.encode_input("foo", foo)])
    assert inference_request.dict() == {
        "inputs": [
            {
                "name": "foo",
                "shape": [2, 2],
                "datatype": "INT64",
                "parameters": {"content_type": "np"},
                "data": [1, 2, 3, 4],
            }
        ]
    }
    assert NumpyCodec.encode_input("foo", np.array([1.0, 2.0])).shape == [2, 1]


def test_frames() -> None:
    foo = pd.DataFrame(LETTERS)
    inference_request = PandasCodec.encode_request(foo)
    assert inference_request.dict() == {
        "parameters": {"content_type": "pd"},
        "inputs": [
            {
                "name": name,
                "shape": [4, 1],
                "datatype": "BYTES",
                "parameters": {"content_type": "str"},
                "data": data,
            }
            for name, data in LETTERS.items()
        ],
    }
    pd.testing.assert_frame_equal(PandasCodec.decode_request(inference_request), foo)


def test_a_column_whose_shape_says_three_rows_has_not_four() -> None:
    """The payload is printed with four elements for the shape [3]; the shape is meant to hold the rows."""
    tensor = {"name": "A", "datatype": "BYTES", "shape": [3], "data": LETTERS["A"]}
    text = json.dumps({"parameters": {"content_type": "pd"}, "inputs": [tensor]})
    with pytest.raises(InvalidPayload, match=r"data has 4 elements, but shape \[3\] means 3"):
        InferenceRequest.parse_raw(text)
    request = InferenceRequest.parse_raw(text.replace("[3]", "[4]"))
    assert PandasCodec.decode_request(request).A.tolist() == LETTERS["A"]


def test_texts() -> None:
    foo = ["bar", "bar2"]
    inference_request = StringRequestCodec.encode_request(foo, use_bytes=False)
    assert inference_request.dict()["inputs"][0]["data"] == foo
    sent = {
        "parameters": {"content_type": "str"},
        "inputs": [{"name": "foo", "data": foo, "datatype": "BYTES", "shape": [2]}],
    }
    assert StringRequestCodec.decode_request(InferenceRequest(**sent)) == foo
    inference_request = InferenceRequest(inputs=[StringCodec.encode_input("foo", foo, use_bytes=False)])
    assert inference_request.inputs[0].data == foo
    assert StringCodec.decode_input(inference_request.inputs[0]) == foo


def test_base64() -> None:
    foo = b"Python is fun"
    inference_request = InferenceRequest(inputs=[Base64Codec.encode_input("foo", foo, use_bytes=False)])
    (sent,) = inference_request.dict()["inputs"]
    assert (sent["data"], sent["datatype"]) == (["UHl0aG9uIGlzIGZ1bg=="], "BYTES")
    assert sent["parameters"] == {"content_type": "base64"}
    assert Base64Codec.decode_input(inference_request.inputs[0]) == [foo]


def test_dates() -> None:
    foo = datetime.datetime(2022, 1, 11, 11, 0, 0)
    inference_request = InferenceRequest(inputs=[DatetimeCodec.encode_input("foo", foo, use_bytes=False)])
    (sent,) = inference_request.dict()["inputs"]
    assert (sent["data"], sent["datatype"]) == (["2022-01-11T11:00:00"], "BYTES")
    assert sent["parameters"] == {"content_type": "datetime"}
    assert DatetimeCodec.decode_input(inference_request.inputs[0]) == [foo]
