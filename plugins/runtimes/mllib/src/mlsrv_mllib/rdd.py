"""Spark MLlib models: the older interface, for RDDs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pyspark.mllib import classification, clustering, regression, tree
from pyspark.mllib.linalg import Vectors

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_mllib.columns import VECTOR, Column
from mlsrv_mllib.saved import Saved
from mlsrv_mllib.scorer import Scorer

FORMATS: dict[str, Any] = {
    "LogisticRegression": classification.LogisticRegressionModel,
    "NaiveBayes": classification.NaiveBayesModel,
    "SVM": classification.SVMModel,
    "KMeans": clustering.KMeansModel,
    "IsotonicRegression": regression.IsotonicRegressionModel,
    "LinearRegression": regression.LinearRegressionModel,
    "Lasso": regression.LassoModel,
    "RidgeRegression": regression.RidgeRegressionModel,
    "DecisionTree": tree.DecisionTreeModel,
    "GradientBoostedTrees": tree.GradientBoostedTreesModel,
    "RandomForest": tree.RandomForestModel,
}
"""Values of ``parameters.format``."""

INPUT = "input-1"
OUTPUT = "predict"


def format_of(settings: ModelSettings, saved: Saved | None) -> str:
    """Return the format of a model, from its settings and its metadata.

    Raises:
        ModelLoadError: it is unknown, or the two differ.
    """
    wanted = settings.parameters.format
    told = saved.class_name.rpartition(".")[2].removesuffix("Model") if saved is not None else None
    if wanted is not None and wanted not in FORMATS:
        raise ModelLoadError(
            f"Model {settings.name}: parameters.format {wanted!r} is unknown; it may be {', '.join(FORMATS)}."
        )
    if told is not None and wanted not in (None, told):
        raise ModelLoadError(
            f"Model {settings.name}: parameters.format is {wanted}, but what was saved is {told}; "
            "correct the format, or leave it out."
        )
    found = wanted or told
    if found not in FORMATS:
        raise ModelLoadError(
            f"Model {settings.name}: models of the class {told} cannot be served; of Spark's models for RDDs "
            f"these can: {', '.join(FORMATS)}."
        )
    return found


class RDDScorer(Scorer):
    """Computes predictions of a model one row at a time, which needs no RDD.

    Args:
        kind: one of `FORMATS`.
        uri: of the folder that the model was saved to.
        session: of Spark.
    """

    def __init__(self, kind: str, uri: str, session: Any) -> None:
        self._model = FORMATS[kind].load(session.sparkContext, uri)
        self._takes_numbers = kind == "IsotonicRegression"
        self._column = Column(INPUT, "double") if self._takes_numbers else Column(INPUT, VECTOR, self._size())
        self.inputs = (self._column,)
        self.outputs = {OUTPUT: Column(OUTPUT, "double")}

    def prepare(self, values: Any) -> Any:
        """Treat one vector of numbers as one row, as MLServer does."""
        if not self._takes_numbers and isinstance(values, np.ndarray) and values.ndim == 1:
            return values.reshape(1, -1)
        return values

    def compute(self, columns: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
        """Compute the predictions, as numbers."""
        rows = columns[INPUT]
        if not self._takes_numbers:
            rows = [Vectors.dense(row) for row in rows]
        return {OUTPUT: np.array([self._model.predict(row) for row in rows], dtype=np.float64)}

    def _size(self) -> int:
        """Return the number of features of the model; -1 for trees, which do not tell."""
        model = self._model
        if hasattr(model, "weights"):
            size = getattr(model, "numFeatures", None)
            return int(size) if size is not None else len(model.weights)
        if hasattr(model, "theta"):
            return int(np.shape(model.theta)[1])
        return len(model.clusterCenters[0]) if hasattr(model, "clusterCenters") else -1
