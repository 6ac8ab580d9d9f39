"""Tables in every form of request: MLflow's own answers, or a refusal."""

from __future__ import annotations

import warnings
from pathlib import Path

import mlflow
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from truth import SIZE, Learner, plain, training_frame, tried

CATEGORY = "shop é [1]"
KINDS = ("texts", "integers", "large integers", "floats", "booleans", "dates")


def learners(folder: Path) -> list[Learner]:
    found = []
    for kind in KINDS:
        frame, target = training_frame(kind, category=CATEGORY)
        values = plain(frame)
        columns = [
            ("categories", OneHotEncoder(handle_unknown="ignore"), [CATEGORY]),
            ("numbers", SimpleImputer(), [SIZE]),
        ]
        pipeline = make_pipeline(ColumnTransformer(columns, remainder="passthrough"), LinearRegression())
        pipeline.fit(values, target)
        path = folder / kind.replace(" ", "-")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's advice on integer columns and on pickles
            signature = mlflow.models.infer_signature(values, pipeline.predict(values))
            mlflow.sklearn.save_model(
                pipeline, path, signature=signature, serialization_format="cloudpickle", pip_requirements=[]
            )
        loaded = mlflow.pyfunc.load_model(str(path))
        found.append(Learner(path.name, path, loaded.predict, frame, output="output-1", as_sent=True))
    return found


@pytest.mark.parametrize("workers", [0, 2])
async def test_every_form_of_a_table_gives_the_frameworks_answer_or_a_refusal(
    tmp_path: Path, workers: int
) -> None:
    (await tried("mlflow", learners(tmp_path), workers)).check()
