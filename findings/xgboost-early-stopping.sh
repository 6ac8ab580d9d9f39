#!/usr/bin/env bash
# XGBoost: one file gives two models.
#
# Guess: a model that was saved after early stopping predicts the same, whichever class of XGBoost reads the file.
# What happens: XGBRegressor predicts with the trees up to the best iteration, Booster with all that are in the file,
#   those of the rounds that made it worse included. Both know `best_iteration`; neither says a word. LightGBM's
#   Booster, whose interface is much alike, saves the trees up to the best iteration only.
# Here: mlsrv-xgboost predicts as the class that saved the file would. A custom model that reads the file with Booster
#   must give `iteration_range=(0, best_iteration + 1)` itself.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/python"
uv pip install --quiet --python "$folder/python" xgboost-cpu==3.2.0 lightgbm==4.7.0 scikit-learn==1.9.1 numpy==2.4.6

"$folder/python/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import lightgbm
import numpy as np
import xgboost

print("xgboost", xgboost.__version__, "lightgbm", lightgbm.__version__)

numbers = np.random.default_rng(0)
table = numbers.normal(size=(400, 3))
target = table[:, 0] + numbers.normal(size=400)
seen, unseen = slice(0, 200), slice(200, 400)

path = Path(sys.argv[1], "model.ubj")
trained = xgboost.XGBRegressor(n_estimators=200, early_stopping_rounds=3)
trained.fit(table[seen], target[seen], eval_set=[(table[unseen], target[unseen])], verbose=False)
trained.save_model(path)

estimator = xgboost.XGBRegressor()
estimator.load_model(path)
booster = xgboost.Booster(model_file=path)
rows = xgboost.DMatrix(table[:3])
best = booster.best_iteration + 1
print(f"rounds in the file: {booster.num_boosted_rounds()}, up to the best one: {best}")
print("XGBRegressor", estimator.predict(table[:3]))
print("Booster     ", booster.predict(rows))
assert best < booster.num_boosted_rounds(), "the file holds no more rounds than the best ones"
assert not np.allclose(estimator.predict(table[:3]), booster.predict(rows)), "both predict the same now"
limited = booster.predict(rows, iteration_range=(0, best))
assert np.array_equal(estimator.predict(table[:3]), limited), "the best rounds are not the difference"

path = Path(sys.argv[1], "model.txt")
training = lightgbm.Dataset(table[seen], target[seen])
history = {}
trained = lightgbm.train(
    {"verbose": -1},
    training,
    200,
    [training.create_valid(table[unseen], target[unseen])],
    callbacks=[lightgbm.early_stopping(3, verbose=False), lightgbm.record_evaluation(history)],
)
rounds = len(history["valid_0"]["l2"])
trained.save_model(path)
loaded = lightgbm.Booster(model_file=path)
print(f"LightGBM: trained {rounds} rounds, saved {loaded.num_trees()}")
assert loaded.num_trees() == trained.best_iteration < rounds, "LightGBM saves other rounds now"
assert np.array_equal(trained.predict(table), loaded.predict(table)), "LightGBM's file predicts something else now"
PYTHON
