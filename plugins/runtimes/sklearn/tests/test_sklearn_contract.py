"""What every runtime does, tried with estimators of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import joblib
import numpy as np
import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlsrv_numpy.plugin
from mlsrv import ModelSettings
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, RequestOutput
from mlsrv_sklearn import plugin
from mlsrv_testing.contracts import RuntimeContract

X, Y = load_iris(return_X_y=True)


class SKLearnContract(RuntimeContract):
    plugins: ClassVar[Sequence[object]] = [mlsrv_numpy.plugin, plugin]
    discover = False

    def bad_requests(self) -> list[InferenceRequest]:
        unknown = tensor_request("model", X[:1])
        unknown.outputs = [RequestOutput("nope")]
        return [tensor_request("model", X[:1, :3]), tensor_request("model", X[:1] * np.nan), unknown]


class TestClassifier(SKLearnContract):
    def settings(self, tmp_path: Path) -> ModelSettings:
        estimator = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cg")).fit(
            X, load_iris().target_names[Y]
        )
        skops.io.dump(estimator, tmp_path / "model.skops")
        return ModelSettings(name="model", parameters={"uri": str(tmp_path)})

    def requests(self) -> list[InferenceRequest]:
        every = tensor_request("model", X[:2])
        every.outputs = [RequestOutput(name) for name in ("predict", "predict_proba", "decision_function")]
        return [tensor_request("model", X[:1].astype(np.float32)), tensor_request("model", X), every]


class TestTransformer(SKLearnContract):
    def settings(self, tmp_path: Path) -> ModelSettings:
        estimator: Any = StandardScaler().set_output(transform="pandas").fit(X)
        joblib.dump(estimator, tmp_path / "scaler.joblib")
        return ModelSettings(
            name="model", implementation="sklearn", parameters={"uri": str(tmp_path / "scaler.joblib")}
        )

    def requests(self) -> list[InferenceRequest]:
        return [tensor_request("model", X[:1]), tensor_request("model", X)]

    def bad_requests(self) -> list[InferenceRequest]:
        return [tensor_request("model", X[:1, :3])]
