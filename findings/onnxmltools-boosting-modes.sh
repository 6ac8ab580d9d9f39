#!/usr/bin/env bash
# onnxmltools: ordinary modes of LightGBM and XGBoost become graphs that answer something else.
#
# Guess: a mode that the converter does not know is refused, as it refuses the objectives "mape" and "fair" of LightGBM
#   and the booster "gblinear" of XGBoost.
# What happens: it converts, without a word, LightGBM with boosting_type="rf" (a fifth of each prediction here),
#   linear_tree=True (each leaf is a constant) and objective="multiclassova" (other probabilities); and of XGBoost
#   random forests (other probabilities), objective="reg:logistic" (the margin, not the probability) and two targets
#   (both are wrong). Gradient boosting with one target is equal, NaN included.
# Here: mlsrv-onnx serves the graph as it is. Serve the framework's own file with mlsrv-lightgbm or mlsrv-xgboost, or
#   compare the graph with the model before it is served.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/python"
uv pip install --quiet --python "$folder/python" onnxmltools==1.16.0 onnxruntime==1.32.0 onnx==1.23.2 \
    skl2onnx==1.20.0 lightgbm==4.7.0 xgboost-cpu==3.2.0 scikit-learn==1.9.1 numpy==2.4.6

"$folder/python/bin/python" -W ignore - <<'PYTHON'
import importlib.metadata

import lightgbm
import numpy as np
import onnxruntime
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

for name in ("onnxmltools", "onnxruntime", "lightgbm", "xgboost-cpu"):
    print(name, importlib.metadata.version(name))
rng = np.random.default_rng(0)
rows = rng.normal(size=(600, 3)).astype(np.float32)
target = rows[:, 0] * 2 + rows[:, 1]
share = 1 / (1 + np.exp(-target))
classes = np.digitize(rows[:, 0], [-0.5, 0.5])
forest = {"n_estimators": 20, "verbose": -1, "boosting_type": "rf", "subsample": 0.7, "subsample_freq": 1}
boosting = {"n_estimators": 20, "verbose": -1}


def graph_of(model, convert, **options):
    graph = convert(model, initial_types=[("x", FloatTensorType([None, 3]))], **options)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})


def compare(name, model, convert, equal, **options):
    found = graph_of(model, convert, **options)
    classifier = hasattr(model, "predict_proba")
    wanted = model.predict_proba(rows) if classifier else model.predict(rows)
    graph = np.asarray(found[1] if classifier else found[0])
    same = graph.size == wanted.size and np.allclose(graph.ravel(), wanted.ravel(), atol=1e-4)
    print(f"{name:30} model {wanted.ravel()[:3].round(3)} graph {graph.ravel()[:3].round(3)}")
    assert same == equal, f"{name}: equal is {same} now"


def light(name, model, labels, equal=False):
    options = {"zipmap": False} if isinstance(model, lightgbm.LGBMClassifier) else {}
    compare(f"LightGBM {name}", model.fit(rows, labels), convert_lightgbm, equal, **options)


light("regression", lightgbm.LGBMRegressor(**boosting), target, equal=True)
light("multiclass", lightgbm.LGBMClassifier(**boosting), classes, equal=True)
light("rf", lightgbm.LGBMRegressor(**forest), target)
light("linear_tree", lightgbm.LGBMRegressor(linear_tree=True, **boosting), target)
light("multiclassova", lightgbm.LGBMClassifier(objective="multiclassova", **boosting), classes)


def extreme(name, model, labels, equal=False):
    compare(f"XGBoost {name}", model.fit(rows, labels), convert_xgboost, equal)


extreme("regression", xgboost.XGBRegressor(n_estimators=20), target, equal=True)
extreme("multiclass", xgboost.XGBClassifier(n_estimators=20), classes, equal=True)
extreme("random forest", xgboost.XGBRFClassifier(n_estimators=10), classes)
extreme("reg:logistic", xgboost.XGBRegressor(n_estimators=20, objective="reg:logistic"), share)
extreme("two targets", xgboost.XGBRegressor(n_estimators=20), np.stack([target, share], 1))
PYTHON
