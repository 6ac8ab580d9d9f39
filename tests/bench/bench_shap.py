"""Explanations of single rows of tree models: milliseconds of one request in this process, and of its CPU.

Run it as a plain script. The models have a hundred trees and twenty features. What counts is the median;
where the machine is busy with other things, look at the CPU. The aim is less than `LIMIT` for every
framework.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import catboost
import joblib
import lightgbm
import numpy as np
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import shap

from mlsrv import Kernel, ModelSettings
from mlsrv.testing import tensor_request

LIMIT = 20.0
"""Milliseconds that one row may take."""
ROUNDS = 100
TREES = 100
FEATURES = 20


def artifacts(folder: Path) -> dict[str, Path]:
    """Save a model of each framework."""
    numbers = np.random.default_rng(1)
    rows = numbers.normal(size=(2000, FEATURES))
    labels = (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).astype(int)
    paths = {
        "xgboost": folder / "model.ubj",
        "lightgbm": folder / "model.txt",
        "catboost": folder / "model.cbm",
        "sklearn forest": folder / "forest.joblib",
        "sklearn boosting": folder / "boosting.joblib",
    }
    xgboost.XGBClassifier(n_estimators=TREES, max_depth=6).fit(rows, labels).save_model(paths["xgboost"])
    boosted = lightgbm.LGBMClassifier(n_estimators=TREES, verbose=-1).fit(rows, labels)
    boosted.booster_.save_model(paths["lightgbm"])
    quiet: dict[str, Any] = {"verbose": False, "allow_writing_files": False}
    catboost.CatBoostClassifier(TREES, **quiet).fit(rows, labels).save_model(str(paths["catboost"]))
    forest = RandomForestClassifier(TREES, max_depth=8, random_state=1).fit(rows, labels)
    joblib.dump(forest, paths["sklearn forest"])
    boosting = HistGradientBoostingClassifier(max_iter=TREES, random_state=1).fit(rows, labels)
    joblib.dump(boosting, paths["sklearn boosting"])
    return paths


async def measure(kernel: Kernel, name: str, row: Any) -> tuple[float, float]:
    """Milliseconds of one request: the median, and the mean of the CPU."""
    taken = []
    cpu = time.process_time()
    for _ in range(ROUNDS):
        request = tensor_request(name, row)
        began = time.perf_counter()
        await kernel.infer(request)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3, (time.process_time() - cpu) / ROUNDS * 1e3


async def main() -> None:
    row = np.random.default_rng(2).normal(size=(1, FEATURES))
    with tempfile.TemporaryDirectory() as folder:
        paths = artifacts(Path(folder))
        models = [
            ModelSettings(name=name.replace(" ", "-"), implementation="shap", parameters={"uri": str(path)})
            for name, path in paths.items()
        ]
        print(f"shap {shap.__version__}, {TREES} trees, {FEATURES} features, 1 row, median of {ROUNDS}\n")
        print(f"{'model':<20}{'ms':>8}{'CPU ms':>8}   aim: below {LIMIT:.0f}")
        async with Kernel({"executor": "inline"}, models=models) as kernel:
            await kernel.loaded()
            for problem in kernel.problems():
                print(problem)
            for name in paths:
                found, cpu = await measure(kernel, name.replace(" ", "-"), row)
                print(f"{name:<20}{found:>8.2f}{cpu:>8.2f}   {'kept' if found < LIMIT else 'MISSED'}")


if __name__ == "__main__":
    asyncio.run(main())
