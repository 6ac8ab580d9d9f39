#!/usr/bin/env bash
# XGBoost: the file forgets which number stands for a missing value.
#
# Guess: save_model and load_model of the scikit-learn interface keep the estimator: parameters that change predictions
#   are in the file, or loading says that they are not.
# What happens: `missing=-1` is not in the file. The estimator that load_model fills has missing=nan, takes -1 for an
#   ordinary number, and predicts otherwise, without a word; so does Booster. A pickle keeps it.
# Here: mlsrv-xgboost has the parameter `missing` (`parameters.extra.missing`), to be set to the number of the training.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/python"
uv pip install --quiet --python "$folder/python" xgboost-cpu==3.2.0 scikit-learn==1.9.1 numpy==2.4.6

"$folder/python/bin/python" - "$folder/model.ubj" <<'PYTHON'
import pickle
import sys

import numpy as np
import xgboost

print("xgboost", xgboost.__version__)
rng = np.random.default_rng(0)
rows = rng.normal(size=(500, 2))
rows[rng.random(rows.shape) < 0.2] = -1
target = rows[:, 0] * 2 + (rows[:, 1] == -1) * 3
model = xgboost.XGBRegressor(n_estimators=20, missing=-1).fit(rows, target)
model.save_model(sys.argv[1])

loaded = xgboost.XGBRegressor()
loaded.load_model(sys.argv[1])
booster = xgboost.Booster(model_file=sys.argv[1])
told = xgboost.DMatrix(rows, missing=-1)
print("missing in the loaded estimator:", loaded.missing)
off = np.abs(loaded.predict(rows) - model.predict(rows)).max()
print("greatest difference of a prediction:", off.round(2), "where targets are within", np.ptp(target).round(1))
assert np.isnan(loaded.missing) and off > 1, "the file knows the missing value now"
assert (pickle.loads(pickle.dumps(model)).predict(rows) == model.predict(rows)).all()
assert np.allclose(booster.predict(told), model.predict(rows), atol=1e-5), "the trees differ, too"
PYTHON
