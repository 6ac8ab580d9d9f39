"""CatBoost runtime: predictions of CatBoost's models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import catboost
import numpy as np

from mlsrv.errors import InferenceError
from mlsrv.types import Datatype
from mlsrv_catboost.artifact import read
from mlsrv_catboost.plugin import ARTIFACTS, is_artifact
from mlsrv_runtime_kit import Features, TableModel, TableOutput, thread_count

_EXPONENTIAL = ("Poisson", "Tweedie")
"""Losses of regressors whose values are the exponents of the scores."""

_WORDS = frozenset({"True", "False", "true", "false"})

_MULTILABEL = ("MultiLogloss", "MultiCrossEntropy")
"""Losses of classifiers whose classes do not exclude each other."""


class CatboostModel(TableModel):
    """Serves a classifier, regressor or ranker of CatBoost, as the file declares.

    Outputs are those that the methods of `CatBoostClassifier`, `CatBoostRegressor` and `CatBoostRanker`
    compute.

    ``parameters.extra``: ``threads`` (default: the process's share of the cores), ``predict_fn`` (the
    output that is sent when none is requested).
    """

    framework: ClassVar[str] = "CatBoost"
    artifacts: ClassVar[tuple[str, ...]] = ARTIFACTS
    is_artifact: ClassVar[Callable[[Path], bool] | None] = staticmethod(is_artifact)
    refusals: ClassVar[tuple[type[Exception], ...]] = (ValueError, TypeError, catboost.CatBoostError)

    def read(self, path: Path) -> tuple[Features, Mapping[str, TableOutput]]:
        """Read the model and return its features and outputs.

        Raises:
            ModelLoadError: the file cannot be used, or a setting is wrong.
        """
        self._threads = thread_count(self.settings)
        self._artifact = found = read(self.name, path)
        self._model = found.model
        return found.features(), self._outputs()

    def prepare(self, values: Any) -> Any:
        """Return a Pool, whose texts are `str`; numbers in categorical columns are integers."""
        texts = self._artifact.texts
        if not isinstance(values, np.ndarray):
            values = self._with_integers(values)
        elif values.dtype == object:
            decoded = [text.decode() if isinstance(text, bytes) else text for text in values.reshape(-1)]
            values = _objects(decoded).reshape(values.shape)
        elif texts:
            values = values.astype(object)
        if isinstance(values, np.ndarray) and values.dtype == object:
            values = values.copy()
            for number in texts:
                values[:, number] = [_category(cell) for cell in values[:, number]]
        self._check_truths(values)
        return catboost.Pool(
            values,
            cat_features=self._model.get_cat_feature_indices() or None,
            text_features=self._model.get_text_feature_indices() or None,
            thread_count=self._threads,
        )

    def _check_truths(self, values: Any) -> None:
        """Refuse words for the values of a boolean column, which CatBoost takes for another category.

        Raises:
            InferenceError: there is one.
        """
        for number in self._artifact.truths:
            column = values[:, number] if isinstance(values, np.ndarray) else values.iloc[:, number]
            if column.dtype.kind in "biuf":
                continue
            if found := _WORDS.intersection(cell for cell in column.tolist() if isinstance(cell, str)):
                raise InferenceError(
                    f'Model {self.name}, input "{self._model.feature_names_[number]}": "{min(found)}" was '
                    "sent, but its categories are 0 and 1; send these texts, or the datatype BOOL."
                )

    def _with_integers(self, frame: Any) -> Any:
        """Return a DataFrame whose categories are integers where they came as floating point."""
        columns = [frame.columns[number] for number in self._model.get_cat_feature_indices()]
        floats = [column for column in columns if frame[column].dtype.kind == "f"]
        if not floats:
            return frame
        return frame.assign(**{column: [*map(_category, frame[column].tolist())] for column in floats})

    def _outputs(self) -> dict[str, TableOutput]:
        found = self._artifact
        if not found.classes:
            kind = "Exponent" if found.loss in _EXPONENTIAL else "RawFormulaVal"
            kind = found.loss if found.loss == "RMSEWithUncertainty" else kind
            outputs = {"predict": TableOutput(self._computed(kind), Datatype.FP64, -1)}
        else:
            several = found.loss in _MULTILABEL
            labels = tuple(map(str, found.classes))
            datatype = Datatype.from_numpy(np.asarray(found.classes).dtype)
            width = len(found.classes)
            outputs = {
                "predict": TableOutput(self._computed("Class"), datatype, -1 if several else 1),
                "predict_proba": TableOutput(
                    self._computed("Probability"), Datatype.FP64, -1 if several else width, labels
                ),
            }
        outputs["predict_raw"] = TableOutput(self._computed("RawFormulaVal"), Datatype.FP64, -1)
        outputs["predict_leaf"] = TableOutput(self._leaves, Datatype.UINT32, self._model.tree_count_)
        return outputs

    def _computed(self, kind: str) -> Any:
        return partial(self._model.predict, prediction_type=kind, thread_count=self._threads)

    def _leaves(self, pool: Any) -> Any:
        return self._model.calc_leaf_indexes(pool, thread_count=self._threads)


def _objects(cells: list[Any]) -> Any:
    found = np.empty(len(cells), object)
    found[:] = cells
    return found


def _category(cell: Any) -> Any:
    """Return a cell of a categorical column as a text or an integer: CatBoost refuses floating point
    there."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell
