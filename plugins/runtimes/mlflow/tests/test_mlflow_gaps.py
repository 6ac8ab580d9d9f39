"""Missing values of predictions have one spelling."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow_models import save_quietly

from mlsrv_mlflow import scoring
from mlsrv_mlflow.gaps import without_gaps

NAN = float("nan")
FRAME = pd.DataFrame(
    {
        "number": [1.5, NAN],
        "text": pd.Series(["a", None], dtype=object),
        "when": pd.to_datetime(["2026-01-02", None]),
        "list": [[NAN], []],
        "whole": [1, 2],
    }
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NAN, None),
        (np.float32("nan"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (float("inf"), "Infinity"),
        ([1.0, -float("inf"), (NAN, "NaN")], [1.0, "-Infinity", (None, "NaN")]),
        ({"a": NAN, "b": {"c": [pd.NaT]}}, {"a": None, "b": {"c": [None]}}),
    ],
)
def test_missing_values_are_none(value: Any, expected: Any) -> None:
    assert without_gaps(value) == expected


def test_missing_elements_of_arrays_and_columns_are_none() -> None:
    assert without_gaps(np.array([[1.5, NAN]])).tolist() == [[1.5, None]]
    assert without_gaps(np.array(["2026-01-02", "NaT"], "datetime64[ns]"))[1] is None
    assert without_gaps(np.array(["a", NAN], object)).tolist() == ["a", None]
    assert without_gaps(np.ma.array([1, 2], mask=[0, 1])) == [1, None]
    assert without_gaps(pd.Series([1.5, NAN])).tolist() == [1.5, None]
    found = without_gaps(FRAME)
    assert found.iloc[1].tolist() == [None, None, None, [], 2]
    assert found.list[0] == [None]
    assert FRAME.number.isna()[1]
    assert found.whole.dtype == FRAME.whole.dtype


@pytest.mark.parametrize(
    "value", [np.array([1.5]), np.array([1, 2]), np.array(["a"]), pd.Series([1, 2]), "text", None]
)
def test_values_without_gaps_stay_as_they_are(value: Any) -> None:
    assert without_gaps(value) is value


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda values: np.array([1.5, NAN]), [1.5, None]),
        (lambda values: [NAN, "NaN"], [None, "NaN"]),
        (
            lambda values: FRAME,
            [
                {"number": 1.5, "text": "a", "when": "2026-01-02T00:00:00", "list": [None], "whole": 1},
                {"number": None, "text": None, "when": None, "list": [], "whole": 2},
            ],
        ),
    ],
)
def test_scoring_answers_with_json_that_every_reader_takes(
    tmp_path: Path, function: Callable[[Any], Any], expected: Any
) -> None:
    class Function(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return function(model_input)

    folder = save_quietly(mlflow.pyfunc, None, tmp_path / "m", python_model=Function(), pip_requirements=[])
    reply = scoring.score(mlflow.pyfunc.load_model(str(folder)), b'{"inputs": [1, 2]}', "application/json")
    assert reply.status == 200

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    assert json.loads(reply.body, parse_constant=refuse) == {"predictions": expected}
