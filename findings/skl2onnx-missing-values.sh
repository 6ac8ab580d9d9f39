#!/usr/bin/env bash
# skl2onnx: a converted forest forgets where missing values go.
#
# Guess: the ONNX form of a random forest predicts what scikit-learn predicts, for missing values (NaN) too if the forest
#   was trained with some; or the conversion says that it cannot.
# What happens: the conversion succeeds, and rows without missing values are right. scikit-learn's trees learn for each
#   split to which side missing values go, but the conversion drops that: in the ONNX model they go right at every split,
#   and the prediction for such rows is another one.
# Here: mlsrv-onnx serves what the file says and cannot know. Serve such a forest with mlsrv-sklearn, or put an imputer
#   before it and convert the pipeline.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/python"
uv pip install --quiet --python "$folder/python" skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0 \
    scikit-learn==1.9.1 numpy==2.4.6

"$folder/python/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import onnx
import onnxruntime
import skl2onnx
import sklearn
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

print("skl2onnx", skl2onnx.__version__, "onnxruntime", onnxruntime.__version__, "scikit-learn", sklearn.__version__)

numbers = np.random.default_rng(0)
table = numbers.normal(size=(600, 2)).astype(np.float32)
target = table[:, 0] * 2 + table[:, 1]
table[::5, 0] = np.nan
target[::5] = -5.0 + table[::5, 1]
gaps = np.isnan(table[:, 0])


def differences(model):
    """The largest differences for rows with and without missing values."""
    model.fit(table, target)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        converted = skl2onnx.to_onnx(model, table[:1]).SerializeToString()
    assert not [warning for warning in told if "missing" in str(warning.message).lower()], "it says so now"
    (trees,) = [node for node in onnx.load_from_string(converted).graph.node if node.op_type.startswith("Tree")]
    (left,) = [found.ints for found in trees.attribute if found.name == "nodes_missing_value_tracks_true"]
    assert not any(left), "missing values go left in some nodes now"
    session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
    found = np.abs(session.run(None, {"X": table})[0][:, 0] - model.predict(table))
    return float(found[gaps].max()), float(found[~gaps].max())


missing, complete = differences(RandomForestRegressor(20, random_state=0))
print(f"forest alone:       {missing:.5f} with missing values, {complete:.5f} without")
assert complete < 0.001, "complete rows differ"
assert missing > 1.0, "missing values are converted now"

missing, complete = differences(make_pipeline(SimpleImputer(), RandomForestRegressor(20, random_state=0)))
print(f"imputer and forest: {missing:.5f} with missing values, {complete:.5f} without")
assert max(missing, complete) < 0.001, "the imputer does not help"
PYTHON
