#!/usr/bin/env bash
# Parquet: pandas categories that are not texts come back as plain columns, and dicts come back with each other's keys.
#
# Guess: what DataFrame.to_parquet writes, read_parquet reads back: pandas stores its dtypes in the file. Feather is the
#   same Arrow table in another file.
# What happens: a category of texts stays one; a category of integers, floats, booleans or dates comes back as int64,
#   float64, bool or datetime64, and its unused categories are gone; from Feather all of them come back. A frame from
#   the file is then refused by LightGBM, whose model was trained on the frame before it. In a column of dicts each row
#   gets the keys of all rows, with None (and integers become floats).
# Here: mlsrv-lightgbm, -xgboost and -catboost make the categories themselves, from the model's own list, so rows of a
#   Parquet file may be sent as they are (`mlsrv infer MODEL rows.parquet`).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/python"
uv pip install --quiet --python "$folder/python" pandas==3.1.1 pyarrow==26.0.1 lightgbm==4.7.0 scikit-learn==1.9.1 \
    numpy==2.4.6

"$folder/python/bin/python" - "$folder" <<'PYTHON'
import sys

import lightgbm
import numpy as np
import pandas as pd
import pyarrow

print("pandas", pd.__version__, "pyarrow", pyarrow.__version__, "lightgbm", lightgbm.__version__)
dates = pd.to_datetime(["2024-01-01", "2024-01-02"])
for values in (["a", "b"], [10, 20], [1.5, 2.5], [True, False], dates):
    frame = pd.DataFrame({"c": pd.Categorical(values)})
    frame.to_parquet(f"{sys.argv[1]}/frame.parquet")
    frame.to_feather(f"{sys.argv[1]}/frame.feather")
    parquet = pd.read_parquet(f"{sys.argv[1]}/frame.parquet")["c"].dtype
    feather = pd.read_feather(f"{sys.argv[1]}/frame.feather")["c"].dtype
    kind = str(frame["c"].cat.categories.dtype)
    print(f"categories {kind:15} parquet {parquet!s:15} feather {feather}")
    assert (parquet == "category") == (kind == "str"), "Parquet keeps other categories now"
    assert feather == "category", "Feather does not keep categories any more"

shops = np.random.default_rng(0).choice([10, 20, 30], 600)
training = pd.DataFrame({"shop": pd.Categorical(shops)})
model = lightgbm.LGBMRegressor(n_estimators=10, verbose=-1).fit(training, 10.0 * (shops == 20))
training.to_parquet(f"{sys.argv[1]}/training.parquet")
try:
    model.predict(pd.read_parquet(f"{sys.argv[1]}/training.parquet"))
except ValueError as error:
    print("LightGBM on the same rows from Parquet: ValueError:", error)
else:
    sys.exit("LightGBM takes the rows now")

pd.DataFrame({"d": [{"a": 1}, {"b": 2}]}).to_parquet(f"{sys.argv[1]}/dicts.parquet")
dicts = pd.read_parquet(f"{sys.argv[1]}/dicts.parquet")["d"].tolist()
print("dicts", dicts)
assert dicts == [{"a": 1.0, "b": None}, {"a": None, "b": 2.0}], "dicts come back otherwise"
PYTHON
