"""Tables in every form of request: LightGBM's own answers, or a refusal."""

from __future__ import annotations

from pathlib import Path

import joblib
import lightgbm
import pytest
from truth import Learner, training_frame, tried

KINDS = ("texts", "integers", "large integers", "floats", "booleans")
"""LightGBM cannot train with dates."""


def learners(folder: Path) -> list[Learner]:
    found = []
    for kind in KINDS:
        frame, target = training_frame(kind)
        estimator = lightgbm.LGBMRegressor(n_estimators=8, min_child_samples=2, verbosity=-1, n_jobs=1)
        estimator.fit(frame, target)
        name = kind.replace(" ", "-")
        joblib.dump(estimator, folder / f"{name}.joblib")
        found.append(Learner(f"{name}-joblib", folder / f"{name}.joblib", estimator.predict, frame))
        if kind in ("integers", "floats"):
            estimator.booster_.save_model(folder / f"{name}.txt")
            found.append(Learner(f"{name}-text", folder / f"{name}.txt", estimator.predict, frame))
    return found


@pytest.mark.parametrize("workers", [0, 2])
async def test_every_form_of_a_table_gives_the_frameworks_answer_or_a_refusal(
    tmp_path: Path, workers: int
) -> None:
    (await tried("lightgbm", learners(tmp_path), workers)).check()
