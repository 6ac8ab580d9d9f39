#!/usr/bin/env bash
# skl2onnx: parameters of estimators that their graphs forget.
#
# Guess: a graph that skl2onnx writes without an error answers what the estimator answers; what it cannot convert it
#   refuses, as it refuses FixedThresholdClassifier.
# What happens: TunedThresholdClassifierCV becomes a graph that decides at 0.5, whatever the tuned threshold;
#   SGDClassifier(loss="modified_huber") of three classes decides by probabilities, where the estimator decides by
#   scores; Normalizer("max") divides by the greatest value, not by the greatest absolute value; and
#   SimpleImputer(add_indicator=True) loses the indicator columns. Probabilities of both classifiers are right.
# Here: mlsrv-onnx serves the graph as it is. Compare the graph with the estimator on the rows of the training before it
#   is served, or serve the estimator with mlsrv-sklearn.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/python"
uv pip install --quiet --python "$folder/python" skl2onnx==1.20.0 onnxruntime==1.32.0 onnx==1.23.2 \
    scikit-learn==1.9.1 numpy==2.4.6

"$folder/python/bin/python" -W ignore - <<'PYTHON'
import importlib.metadata

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.preprocessing import Normalizer

for name in ("skl2onnx", "onnxruntime", "scikit-learn"):
    print(name, importlib.metadata.version(name))
rng = np.random.default_rng(0)
rows = rng.normal(size=(400, 3)).astype(np.float32)
rare = (rows[:, 0] + rng.normal(size=400) > 1.2).astype(int)
classes = np.digitize(rows[:, 0], [-0.5, 0.5])


def graph_of(model, rows):
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    graph = to_onnx(model, rows[:1], options=options)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: rows})


tuned = TunedThresholdClassifierCV(LogisticRegression(), scoring="balanced_accuracy").fit(rows, rare)
labels, probabilities = graph_of(tuned, rows)
print("tuned threshold", tuned.best_threshold_.round(3), "labels that differ:", (labels != tuned.predict(rows)).sum())
assert np.allclose(probabilities, tuned.predict_proba(rows), atol=1e-5)
assert (labels == (probabilities[:, 1] >= 0.5)).all(), "the graph does not decide at 0.5 any more"
assert (labels != tuned.predict(rows)).any(), "the graph knows the tuned threshold now"
try:
    graph_of(FixedThresholdClassifier(LogisticRegression(), threshold=0.2).fit(rows, rare), rows)
except Exception as error:
    print("fixed threshold", type(error).__name__)
else:
    raise SystemExit("FixedThresholdClassifier is converted now")

huber = SGDClassifier(loss="modified_huber", random_state=0).fit(rows, classes)
labels, probabilities = graph_of(huber, rows)
print("modified_huber, labels that differ:", (labels != huber.predict(rows)).sum(), "of", len(rows))
assert np.allclose(probabilities, huber.predict_proba(rows), atol=1e-4)
assert (labels != huber.predict(rows)).any(), "the graph decides by scores now"

negative = np.array([[-4, 1, 2]], np.float32)
scaled = Normalizer("max").fit(negative)
print("Normalizer('max')", scaled.transform(negative), "graph", graph_of(scaled, negative)[0])
assert np.allclose(scaled.transform(negative), [[-1, 0.25, 0.5]])
assert np.allclose(graph_of(scaled, negative)[0], [[-2, 0.5, 1]]), "the graph scales by another value now"

gaps = np.array([[1, np.nan], [np.nan, 2], [3, 4]], np.float32)
imputer = SimpleImputer(add_indicator=True).fit(gaps)
print("SimpleImputer columns", imputer.transform(gaps).shape[1], "graph", graph_of(imputer, gaps)[0].shape[1])
assert imputer.transform(gaps).shape[1] == 4
assert graph_of(imputer, gaps)[0].shape[1] == 2, "the graph has the indicators now"
PYTHON
