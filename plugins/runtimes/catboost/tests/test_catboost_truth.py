"""Tables in every form of request: CatBoost's own answers, or a refusal."""

from __future__ import annotations

from pathlib import Path

import catboost
import pytest
from truth import Learner, plain, training_frame, tried

KINDS = ("texts", "integers", "large integers", "booleans")
"""CatBoost takes no other categories."""


def learners(folder: Path) -> list[Learner]:
    found = []
    for kind in KINDS:
        frame, target = training_frame(kind, category="shop é [1]")
        values = plain(frame)
        estimator = catboost.CatBoostRegressor(
            iterations=12,
            cat_features=[0],
            one_hot_max_size=3,
            thread_count=1,
            allow_writing_files=False,
            verbose=0,
        ).fit(values, target)
        name = kind.replace(" ", "-")
        estimator.save_model(folder / f"{name}.cbm")
        found.append(Learner(name, folder / f"{name}.cbm", estimator.predict, frame))
    return found


@pytest.mark.parametrize("workers", [0, 2])
async def test_every_form_of_a_table_gives_the_frameworks_answer_or_a_refusal(
    tmp_path: Path, workers: int
) -> None:
    (await tried("catboost", learners(tmp_path), workers)).check()
