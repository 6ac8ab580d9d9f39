"""Trains the models of this folder: five that tell Fisher's irises apart, each in a form without code."""

from pathlib import Path

import catboost
import lightgbm
import numpy as np
import onnx
import skops.io
import xgboost
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).parent


def linear_graph(weights: np.ndarray, offsets: np.ndarray) -> onnx.ModelProto:
    """A linear classifier as a graph: measurements to the scores of the species, and the best one."""
    nodes = [
        helper.make_node("Gemm", ["measurements", "weights", "offsets"], ["scores"], transB=1),
        helper.make_node("ArgMax", ["scores"], ["species"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "iris",
        [helper.make_tensor_value_info("measurements", TensorProto.FLOAT, ["flowers", 4])],
        [
            helper.make_tensor_value_info("species", TensorProto.INT64, ["flowers"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["flowers", 3]),
        ],
        initializer=[
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(offsets.astype(np.float32), "offsets"),
        ],
    )
    # Old enough for every ONNX Runtime that is served with.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    rows, species = load_iris(return_X_y=True)
    linear = LogisticRegression(max_iter=1000).fit(rows, species)
    skops.io.dump(linear, HERE / "sklearn/model.skops")
    onnx.save(linear_graph(linear.coef_, linear.intercept_), HERE / "onnx/model.onnx")
    table = xgboost.DMatrix(rows, label=species)
    boosted = xgboost.train({"objective": "multi:softprob", "num_class": 3, "max_depth": 2}, table, 4)
    boosted.save_model(HERE / "xgboost/model.json")
    settings = {"objective": "multiclass", "num_class": 3, "num_leaves": 4, "verbosity": -1}
    lightgbm.train(settings, lightgbm.Dataset(rows, species), 4).save_model(HERE / "lightgbm/model.txt")
    classifier = catboost.CatBoostClassifier(iterations=4, depth=2, verbose=0, allow_writing_files=False)
    classifier.fit(rows, species).save_model(str(HERE / "catboost/model.cbm"))


if __name__ == "__main__":
    main()
