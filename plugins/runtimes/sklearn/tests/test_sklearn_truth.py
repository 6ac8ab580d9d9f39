"""Tables in every form of request: scikit-learn's own answers, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from truth import KINDS, SIZE, Learner, plain, training_frame, tried

CATEGORY = "shop é [1]"


def encoded(last: Any, numbers: list[str] | None = None) -> Any:
    """Return a pipeline. If all `numbers` are named, and none is passed on, the metadata has the columns."""
    columns = [
        ("categories", OneHotEncoder(handle_unknown="ignore"), [CATEGORY]),
        ("numbers", SimpleImputer(), numbers or [SIZE]),
    ]
    return make_pipeline(ColumnTransformer(columns, remainder="passthrough"), last)


def learners(folder: Path) -> list[Learner]:
    found = []
    for kind in (kind for kind in KINDS if kind != "plain texts"):
        frame, target = training_frame(kind, category=CATEGORY)
        values = plain(frame)
        estimators = {
            "linear": encoded(LinearRegression()).fit(values, target),
        }
        if kind in ("texts", "integers", "dates"):
            numbers = [name for name in values.columns if name != CATEGORY]
            estimators["told"] = encoded(LinearRegression(), numbers).fit(values, target)
        if kind == "floats":
            forest = encoded(RandomForestClassifier(3, random_state=0))
            estimators["forest"] = forest.fit(values, target > target.mean())
        if kind in ("texts", "integers"):
            boosting = HistGradientBoostingRegressor(max_iter=5, categorical_features=[CATEGORY])
            estimators["boosting"] = boosting.fit(values, target)
        for name, estimator in estimators.items():
            file = f"{name}-{kind.replace(' ', '-')}"
            joblib.dump(estimator, folder / f"{file}.joblib")
            found.append(Learner(file, folder / f"{file}.joblib", estimator.predict, frame, as_sent=True))
    return found


@pytest.mark.filterwarnings("ignore:\\s?The .* of the 'remainder':FutureWarning")  # of older scikit-learn
@pytest.mark.parametrize("workers", [0, 2])
async def test_every_form_of_a_table_gives_the_frameworks_answer_or_a_refusal(
    tmp_path: Path, workers: int
) -> None:
    (await tried("sklearn", learners(tmp_path), workers)).check()
