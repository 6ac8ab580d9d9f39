"""Row predictions: ask a predictor for one row at a time, which is faster than a DataFrame for few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from pyspark import SparkContext
from pyspark.ml.base import PredictionModel
from pyspark.ml.classification import ClassificationModel, ProbabilisticClassificationModel
from pyspark.ml.common import _java2py, _py2java
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.linalg import Vectors

from mlsrv_mllib.columns import VECTOR, Column
from mlsrv_mllib.schema import given, taken

_OTHER_RESULTS = ("leafCol", "linkPredictionCol", "offsetCol")
"""Parameters with which a predictor needs `transform`."""


@frozen
class RowByRow:
    """A predictor with the columns of its vectors. It repeats the steps of `transform` in the same order, so
    the numbers are bit-identical.

    Attributes:
        predictor: the model.
        parts: the columns that make up a vector, in their order.
        is_assembled: whether a `VectorAssembler` puts the parts together; else there is one, a vector.
        results: the method of the predictor for each output.
    """

    predictor: Any
    parts: tuple[str, ...]
    is_assembled: bool
    results: Mapping[str, str]

    @classmethod
    def of(cls, stages: Sequence[Any], inputs: Sequence[Column]) -> RowByRow | None:
        """Return the predictor for these stages, or None if they need a DataFrame."""
        *before, predictor = stages
        before = [stage for stage in before if set(taken(stage)) & {column.name for column in inputs}]
        results = _results(predictor)
        features = taken(predictor)
        if not results or len(features) != 1 or len(before) > 1:
            return None
        if before:
            [assembler] = before
            if not isinstance(assembler, VectorAssembler) or given(assembler) != features:
                return None
            return cls(predictor, tuple(taken(assembler)), True, results)
        is_vector = [column.kind for column in inputs if column.name == features[0]] == [VECTOR]
        return cls(predictor, (features[0],), False, results) if is_vector else None

    def can(self, columns: Mapping[str, Any], wanted: Sequence[str]) -> bool:
        """Return whether these outputs can be computed this way. Missing values are left to the assembler."""
        return self.results.keys() >= set(wanted) and not (
            self.is_assembled and any(np.isnan(columns[name]).any() for name in self.parts)
        )

    def compute(self, columns: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
        """Compute the wanted outputs, as arrays with an element for each row."""
        vectors = np.column_stack([columns[name] for name in self.parts]).astype(np.float64)
        rows = [self._row(vector, wanted) for vector in vectors]
        return {name: np.array([row[number] for row in rows]) for number, name in enumerate(wanted)}

    def _row(self, values: Any, wanted: Sequence[str]) -> list[Any]:
        context = SparkContext._active_spark_context
        vector = _py2java(context, Vectors.dense(values))
        if self.is_assembled:
            vector = vector.compressed()  # as the assembler does; sums over sparse vectors may differ
        java = self.predictor._java_obj
        raw = java.predictRaw(vector) if isinstance(self.predictor, ClassificationModel) else vector
        methods = [self.results[name] for name in wanted]
        found = [getattr(java, method)(raw) if method else raw for method in methods]
        return [one if isinstance(one, float) else _java2py(context, one).toArray() for one in found]


def _results(predictor: Any) -> dict[str, str]:
    """Return the method that computes each output of a predictor.

    Classifiers compute them from the raw prediction (which has no method itself), other predictors from the
    features.
    """
    if not isinstance(predictor, PredictionModel) or any(
        predictor.hasParam(name) and predictor.isDefined(name) and predictor.getOrDefault(name)
        for name in _OTHER_RESULTS
    ):
        return {}
    if not isinstance(predictor, ClassificationModel):
        return {predictor.getPredictionCol(): "predict"}
    results = {predictor.getPredictionCol(): "raw2prediction", predictor.getRawPredictionCol(): ""}
    if isinstance(predictor, ProbabilisticClassificationModel):
        results[predictor.getProbabilityCol()] = "raw2probability"
    # Without one of them Spark computes the others in another way.
    return results if all(results) else {}
