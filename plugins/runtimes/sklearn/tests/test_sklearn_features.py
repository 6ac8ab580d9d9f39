"""Columns of estimators that were fitted on frames, as metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_sklearn.features import columns_of
from served import kernel_of, model

pytestmark = [  # of older scikit-learn
    pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:\\sThe format of the columns of the 'remainder':FutureWarning"),
]

FRAME = pd.DataFrame(
    {"age": [20.0, 30.0, 40.0, 50.0], "city": ["Ulm", "Bonn", "Ulm", "Kiel"], "note": ["a b", "b", "a", "c"]}
)
TARGET = [0, 1, 0, 1]


def mixed(**more: Any) -> Pipeline:
    parts = [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
        ("places", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ("notes", CountVectorizer(token_pattern=r"\w"), "note"),
    ]
    steps = [("columns", ColumnTransformer(parts, **more)), ("classify", LogisticRegression())]
    return Pipeline(steps).fit(FRAME, TARGET)


def described(estimator: Any) -> list[tuple[str, str]]:
    return [(tensor.name, str(tensor.datatype)) for tensor in columns_of(estimator)]


def test_a_column_transformer_tells_texts_from_numbers() -> None:
    assert described(mixed()) == [("age", "FP64"), ("city", "BYTES"), ("note", "BYTES")]


def test_other_estimators_take_numbers() -> None:
    numbers = FRAME[["age"]].assign(height=[1.0, 2.0, 3.0, 4.0])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    for estimator in (RandomForestClassifier(n_estimators=2), pipeline):
        assert described(estimator.fit(numbers, TARGET)) == [("age", "FP64"), ("height", "FP64")]


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(n_estimators=2).fit(FRAME[["age"]].to_numpy(), TARGET),
        ColumnTransformer([("any", FunctionTransformer(), ["age", "city"])]).fit(FRAME[["age", "city"]]),
        ColumnTransformer([("numbers", StandardScaler(), ["age"])]).fit(FRAME),
        OneHotEncoder().fit(FRAME[["age"]].astype("datetime64[s]")),
    ],
    ids=["array", "any function", "dropped columns", "categories that are dates"],
)
def test_what_cannot_be_told_is_left_out(estimator: Any) -> None:
    assert columns_of(estimator) == []


async def test_the_columns_are_metadata_and_no_limit(tmp_path: Path) -> None:
    joblib.dump(mixed(), tmp_path / "model.joblib")
    async with kernel_of(model(tmp_path / "model.joblib", "sklearn", warm_up=True)) as kernel:
        assert kernel.problems() == []
        assert [tensor.name for tensor in kernel.model_metadata("m").inputs] == ["age", "city", "note"]
        inputs = [
            RequestInput("age", [2, 1], "INT64", [20, 50]),
            RequestInput("city", [2], "BYTES", ["Ulm", "Kiel"]),
            RequestInput("note", [2, 1], "BYTES", ["a", "c"]),
        ]
        response = await kernel.infer(InferenceRequest(inputs, model_name="m"))
        assert response.outputs[0].data.tolist() == [0, 1]
    numbers = FRAME[["age"]].assign(height=[1.0, 2.0, 3.0, 4.0])
    joblib.dump(RandomForestClassifier(n_estimators=2).fit(numbers, TARGET), tmp_path / "model.joblib")
    async with kernel_of(model(tmp_path / "model.joblib", "sklearn")) as kernel:
        response = await kernel.infer(tensor_request("m", np.array([[20.0, 1.0]], np.float32)))
        assert response.outputs[0].shape[0] == 1
