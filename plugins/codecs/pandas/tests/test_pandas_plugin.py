"""The plugin as the kernel sees it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pandas as pd
import pytest

import mlsrv
import mlsrv_pandas.plugin
from mlsrv.errors import CodecError
from mlsrv.types import InferenceRequest, InferenceResponse, RequestInput


class Describer(mlsrv.MLModel):
    """Answers with the frame that it got, and a column with each row's number of missing cells."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        frame: Any = self.decode_request(payload)
        assert isinstance(frame, pd.DataFrame)
        frame["missing"] = frame.isna().sum(axis=1)
        return self.encode_response(frame)


async def answer(*inputs: RequestInput, **parameters: Any) -> list[dict[str, Any]]:
    settings = mlsrv.ModelSettings(name="m", implementation=Describer, parameters=parameters)
    async with mlsrv.Kernel(models=[settings], plugins=[mlsrv_pandas.plugin], discover=False) as kernel:
        await kernel.loaded()
        response = await kernel.infer(InferenceRequest(list(inputs), model_name="m"))
        found: list[dict[str, Any]] = response.dict()["outputs"]
        return found


async def test_a_model_gets_and_returns_frames() -> None:
    outputs = await answer(
        RequestInput("n", [2], "INT32", [1, 2]),
        RequestInput("o", [2, 1], "BYTES", ['{"a": 1}', "null"], {"content_type": "pd_json"}),
        content_type="pd",
    )
    assert outputs == [
        {"name": "n", "shape": [2, 1], "datatype": "INT32", "data": [1, 2]},
        {
            "name": "o",
            "shape": [2, 1],
            "datatype": "BYTES",
            "parameters": {"content_type": "pd_json"},
            "data": ['{"a": 1}', "null"],
        },
        {"name": "missing", "shape": [2, 1], "datatype": "INT64", "data": [0, 1]},
    ]


async def test_a_shape_that_is_no_column_is_the_clients_fault() -> None:
    with pytest.raises(CodecError, match=r'Column "n": a column has the shape'):
        await answer(RequestInput("n", [2, 2], "INT32", [1, 2, 3, 4]), content_type="pd")


def test_the_public_names() -> None:
    for name in mlsrv_pandas.__all__:
        assert getattr(mlsrv_pandas, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = mlsrv_pandas.Nonsense


def test_pandas_is_imported_when_it_is_needed() -> None:
    probe = "import sys, mlsrv_pandas.plugin; mlsrv_pandas.JsonCodec; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], timeout=60).returncode == 0
