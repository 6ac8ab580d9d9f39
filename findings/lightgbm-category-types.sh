#!/usr/bin/env bash
# LightGBM: equal categories of another type are missing values.
#
# Guess: a model that was trained with the categories "1", "2", "3" refuses a DataFrame whose categories are the
#   integers 1, 2, 3 or the bytes b"1", b"2", b"3", or takes them for the same.
# What happens: it takes each of them for a missing value, and predicts without a word. A plain column of integers in a
#   DataFrame is refused, but in a NumPy array integers are the positions of the categories: 1 is the category "2".
# Here: mlsrv-lightgbm builds the categories itself, from texts, when a request comes as a DataFrame (content type
#   "pd"). A custom model that makes categories of BYTES, or of INT64, must convert them to the type of the training.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/python"
uv pip install --quiet --python "$folder/python" lightgbm==4.7.0 numpy==2.4.6 pandas==3.1.1

"$folder/python/bin/python" - "$folder/model.txt" <<'PYTHON'
import sys

import lightgbm
import numpy as np
import pandas as pd

print("lightgbm", lightgbm.__version__, "numpy", np.__version__, "pandas", pd.__version__)

shops = np.random.default_rng(0).choice(["1", "2", "3"], 600)
training = lightgbm.Dataset(pd.DataFrame({"shop": pd.Categorical(shops)}), label=10.0 * (shops == "2"))
lightgbm.train({"verbose": -1, "min_data_per_group": 1}, training, 20).save_model(sys.argv[1])
model = lightgbm.Booster(model_file=sys.argv[1])


def answers(*values):
    found = model.predict(pd.DataFrame({"shop": pd.Categorical(list(values))}))
    print(f"{values!s:25} {found.round(2)}")
    return found


known = answers("1", "2", "3")
missing = answers(None, None, None)
assert known[1] > 5 > known[0], "texts are not told apart"
assert (answers(1, 2, 3) == missing).all(), "integers are no missing values any more"
assert (answers(b"1", b"2", b"3") == missing).all(), "bytes are no missing values any more"

try:
    print(model.predict(pd.DataFrame({"shop": [1, 2, 3]})))
except ValueError as error:
    print(f"{'plain integers':25} ValueError: {error}")
else:
    sys.exit("a column of integers is taken now")

positions = model.predict(np.array([[0], [1], [2]]))
print(f"{'array [0, 1, 2]':25} {positions.round(2)}")
assert (positions == known).all(), "integers of an array are no positions any more"
PYTHON
