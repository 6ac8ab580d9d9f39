"""Tables in every form of request: XGBoost's own answers, or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
import xgboost
from truth import MUST, Learner, training_frame, tried

KINDS = ("texts", "plain texts", "integers", "large integers")
"""XGBoost takes no other categories."""


def learners(folder: Path) -> list[Learner]:
    found = []
    for kind in KINDS:
        frame, target = training_frame(kind)
        estimator = xgboost.XGBRegressor(n_estimators=8, enable_categorical=True, n_jobs=1).fit(frame, target)
        name = kind.replace(" ", "-")
        estimator.save_model(folder / f"{name}.ubj")
        # The file of this version does not hold all texts that are not ASCII.
        must = frozenset() if kind == "texts" else MUST
        found.append(Learner(name, folder / f"{name}.ubj", estimator.predict, frame, must=must))
    return found


@pytest.mark.parametrize("workers", [0, 2])
async def test_every_form_of_a_table_gives_the_frameworks_answer_or_a_refusal(
    tmp_path: Path, workers: int
) -> None:
    (await tried("xgboost", learners(tmp_path), workers)).check()
