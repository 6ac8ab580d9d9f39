#!/usr/bin/env bash
# CatBoost: the graph that it writes leaves out the link function of some losses.
#
# Guess: save_model(format="onnx") writes a graph that answers what predict answers, or refuses the loss.
# What happens: for regressors with the losses Poisson and Tweedie the graph answers the logarithm of the prediction,
#   and for MultiClassOneVsAll its probabilities are another function of the scores (they sum to 1, the model's do not).
#   A threshold of set_probability_threshold, which .cbm and .json keep, is not in the graph: it decides at 0.5.
#   Nothing is said at export. RMSE, Quantile, Logloss and MultiClass are equal to float32's precision.
# Here: mlsrv-onnx serves the graph as it is. Serve CatBoost's own file (.cbm) with mlsrv-catboost instead, or compare
#   the graph with the model before it is served.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/python"
uv pip install --quiet --python "$folder/python" catboost==1.2.10 onnxruntime==1.32.0 numpy==2.4.6

"$folder/python/bin/python" - "$folder/model.onnx" <<'PYTHON'
import sys

import catboost
import numpy as np
import onnxruntime

print("catboost", catboost.__version__, "onnxruntime", onnxruntime.__version__)
rng = np.random.default_rng(0)
rows = rng.normal(size=(400, 3)).astype(np.float32)
counts = rng.poisson(np.exp(rows[:, 0])) + 0.0
classes = np.digitize(rows[:, 0], [-0.5, 0.5])
options = {"iterations": 30, "verbose": 0, "allow_writing_files": False}


def graph_of(model, labels):
    model.fit(rows, labels).save_model(sys.argv[1], format="onnx")
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    return session.run(None, {"features": rows})


for loss in ("RMSE", "Quantile", "Poisson", "Tweedie:variance_power=1.5"):
    model = catboost.CatBoostRegressor(loss_function=loss, **options)
    graph = graph_of(model, counts)[0].ravel()
    predicted = model.predict(rows)
    print(f"{loss:27} predict {predicted[:3].round(3)} graph {graph[:3].round(3)}")
    expected = np.log(predicted) if loss.startswith(("Poisson", "Tweedie")) else predicted
    assert np.allclose(graph, expected, atol=1e-4), f"the graph of {loss} answers something else now"

for loss in ("MultiClass", "MultiClassOneVsAll"):
    model = catboost.CatBoostClassifier(loss_function=loss, **options)
    labels, probabilities = graph_of(model, classes)
    graph = np.array([[row[label] for label in sorted(row)] for row in probabilities])
    predicted = model.predict_proba(rows)
    print(f"{loss:27} predict_proba {predicted[0].round(3)} graph {graph[0].round(3)}")
    assert (labels == model.predict(rows).ravel()).all(), f"the labels of {loss} differ now"
    assert np.allclose(graph, predicted, atol=1e-4) == (loss == "MultiClass"), f"{loss} changed"

careful = catboost.CatBoostClassifier(**options).fit(rows, (classes == 2).astype(int))
careful.set_probability_threshold(0.9)
careful.save_model(sys.argv[1], format="onnx")
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
graph = session.run(None, {"features": rows})[0]
own = careful.predict(rows)
print("threshold 0.9: positive of the model", own.sum(), "of the graph", graph.sum())
assert own.sum() < graph.sum(), "the graph knows the threshold now"
PYTHON
