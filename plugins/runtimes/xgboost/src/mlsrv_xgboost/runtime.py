"""XGBoost runtime: predictions of XGBoost's boosters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xgboost

from mlsrv.types import Datatype
from mlsrv_runtime_kit import Features, TableModel, TableOutput, extra_value, thread_count
from mlsrv_xgboost.artifact import error_text, read
from mlsrv_xgboost.plugin import ARTIFACTS, is_artifact


class XGBoostModel(TableModel):
    """Serves a booster, or a classifier, regressor or ranker of XGBoost's scikit-learn interface, as the file
    declares.

    Outputs are those that `Booster.predict` and the estimators' methods compute.

    ``parameters.extra``: ``threads`` (default: the process's share of the cores), ``missing`` (the value
    that stands for a missing one, default NaN), ``predict_fn`` (the output that is sent when none is
    requested).
    """

    framework: ClassVar[str] = "XGBoost"
    artifacts: ClassVar[tuple[str, ...]] = ARTIFACTS
    is_artifact: ClassVar[Callable[[Path], bool] | None] = staticmethod(is_artifact)
    refusals: ClassVar[tuple[type[Exception], ...]] = (ValueError, xgboost.core.XGBoostError)

    def read(self, path: Path) -> tuple[Features, Mapping[str, TableOutput]]:
        """Read the booster and return its features and outputs.

        Raises:
            ModelLoadError: the file cannot be used, or a setting is wrong.
        """
        self._threads = thread_count(self.settings)
        self._missing = extra_value(self.settings, "missing", float, float("nan"))
        self._artifact = found = read(self.name, path, self._threads)
        self._booster = found.booster
        # The best iteration of early stopping: the estimators use it, a booster does not.
        best = self._booster.attr("best_iteration") if found.estimator else None
        self._range = (0, int(best) + 1) if best is not None else (0, 0)
        return found.features(), self._outputs()

    def prepare(self, values: Any) -> Any:
        """Return a DMatrix, unless XGBoost can predict in place, which gives the same numbers sooner."""
        found = self._artifact
        if found.categories:
            values = self.features.coded(self.name, values)
        is_array = isinstance(values, np.ndarray)
        if is_array and found.kind != "gblinear" and not found.categorical:
            return values
        if is_array:
            return self._matrix(values)
        return xgboost.DMatrix(values, missing=self._missing, nthread=self._threads, enable_categorical=True)

    def error_text(self, error: Exception) -> str:
        """Return the error text of XGBoost without source locations."""
        return error_text(error)

    def _outputs(self) -> dict[str, TableOutput]:
        found = self._artifact
        is_multiclass = found.objective == "multi:softprob"
        values = TableOutput(self._value, Datatype.FP32, found.classes if is_multiclass else found.targets)
        scores = max(found.targets, found.classes if found.objective.startswith("multi:") else 1)
        # The estimator takes no other classes than these.
        labels = tuple(map(str, range(found.classes))) if found.estimator == "classifier" else ()
        outputs = {"predict": values}
        if found.estimator == "classifier":
            width = found.targets if found.classes == 2 else 1
            outputs["predict"] = TableOutput(self._class, Datatype.INT64, width)
        if found.estimator == "classifier" or is_multiclass or found.objective == "binary:logistic":
            width = found.targets if found.targets > 1 else found.classes
            outputs["predict_proba"] = TableOutput(
                self._probabilities, Datatype.FP32, width, labels if found.targets < 2 else ()
            )
        outputs["predict_raw"] = TableOutput(
            self._margin, Datatype.FP32, scores, labels if scores == found.classes else ()
        )
        if found.kind != "gblinear":
            outputs["predict_leaf"] = TableOutput(self._leaves, Datatype.FP32, -1)
        return outputs

    def _value(self, values: Any) -> Any:
        return self._computed(values, "value")

    def _margin(self, values: Any) -> Any:
        return self._computed(values, "margin")

    def _computed(self, values: Any, what: str) -> Any:
        if isinstance(values, np.ndarray):
            return self._booster.inplace_predict(
                values, iteration_range=self._range, predict_type=what, missing=self._missing
            )
        return self._booster.predict(values, output_margin=what == "margin", iteration_range=self._range)

    def _leaves(self, values: Any) -> Any:
        if isinstance(values, np.ndarray):
            values = self._matrix(values)
        return self._booster.predict(values, pred_leaf=True, iteration_range=self._range)

    def _class(self, values: Any) -> Any:
        found = self._value(values)
        if found.ndim > 1 and self._artifact.classes != 2:
            return np.argmax(found, axis=1)
        if self._artifact.objective == "multi:softmax":
            return found.astype(np.int64)
        return (found > 0.5).astype(np.int64)

    def _probabilities(self, values: Any) -> Any:
        if self._artifact.objective == "multi:softmax":  # whose values are classes
            return _softmax(self._margin(values))
        found = self._value(values)
        return found if found.ndim == 2 else np.column_stack((np.float32(1.0) - found, found))

    def _matrix(self, values: Any) -> Any:
        booster = self._booster
        return xgboost.DMatrix(
            values,
            missing=self._missing,
            nthread=self._threads,
            feature_names=booster.feature_names,
            feature_types=booster.feature_types,
            enable_categorical=True,
        )


def _softmax(scores: Any) -> Any:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
