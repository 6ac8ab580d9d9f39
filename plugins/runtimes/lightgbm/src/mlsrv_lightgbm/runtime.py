"""LightGBM runtime: predictions of LightGBM's boosters and estimators."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import lightgbm
import numpy as np

from mlsrv.errors import InferenceError
from mlsrv.types import Datatype
from mlsrv_lightgbm.artifact import read
from mlsrv_lightgbm.booster import objective_of, pandas_categories
from mlsrv_lightgbm.plugin import ARTIFACTS, is_artifact
from mlsrv_runtime_kit import Features, TableModel, TableOutput, thread_count

_MADE_UP = re.compile(r"Column_\d+")
"""How LightGBM calls features that have no names."""

_PROBABLE = ("binary", "multiclass", "multiclassova", "cross_entropy")
"""Objectives whose values are probabilities."""


class LightGBMModel(TableModel):
    """Serves a booster, or a classifier, regressor or ranker of LightGBM's scikit-learn interface.

    Outputs are those that `Booster.predict` and the estimators' methods compute.

    ``parameters.extra``: ``threads`` (default: the process's share of the cores), ``predict_fn`` (the
    output that is sent when none is requested).
    """

    framework: ClassVar[str] = "LightGBM"
    artifacts: ClassVar[tuple[str, ...]] = ARTIFACTS
    is_artifact: ClassVar[Callable[[Path], bool] | None] = staticmethod(is_artifact)
    refusals: ClassVar[tuple[type[Exception], ...]] = (ValueError, TypeError, lightgbm.basic.LightGBMError)

    def read(self, path: Path) -> tuple[Features, Mapping[str, TableOutput]]:
        """Read the model and return its features and outputs.

        Raises:
            ModelLoadError: the file cannot be used, or a setting is wrong.
        """
        self._threads = thread_count(self.settings)
        found = read(self.name, path)
        # Always the booster itself: estimators compute with it, but warn of tables without names.
        self._booster = found if isinstance(found, lightgbm.Booster) else found.booster_
        self._classes = None
        if isinstance(found, lightgbm.LGBMClassifier) and not callable(found.objective_):
            self._classes = np.asarray(found.classes_)
        self._names = tuple(self._booster.feature_name())
        self._categories = pandas_categories(self._booster)
        return self._features(), self._outputs()

    def prepare(self, values: Any) -> Any:
        """Return the table; categories of pandas become the codes that LightGBM knows them by.

        Raises:
            InferenceError: a value cannot be a category, or texts came where there are none.
        """
        if self._categories:
            # LightGBM itself takes categories that it has not seen in training for missing values.
            return self.features.coded(self.name, values, unseen_is_missing=True)
        if isinstance(values, np.ndarray):
            if values.dtype == object:
                raise InferenceError(
                    f"Model {self.name} takes numbers; send texts as columns of their own, with the content "
                    'type "pd".'
                )
            return values
        if self._categories is None and set(map(str, values.columns)) == set(self._names):
            return values[list(self._names)]
        return values

    def _features(self) -> Features:
        names = self._names
        if self._categories is None or all(map(_MADE_UP.fullmatch, names)):
            return Features(len(names), datatype=Datatype.FP64)
        return Features(len(names), names, datatype=Datatype.FP64, categories=self._categories, spaces="_")

    def _outputs(self) -> dict[str, TableOutput]:
        columns = self._booster.num_model_per_iteration()
        outputs = {"predict": TableOutput(self._value, Datatype.FP64, columns)}
        if self._classes is not None:
            outputs["predict"] = TableOutput(self._class, Datatype.from_numpy(self._classes.dtype))
        labels = tuple(map(str, self._classes)) if self._classes is not None else ()
        if self._classes is not None or objective_of(self._booster) in _PROBABLE:
            # A single column holds the second of two classes.
            width = max(columns, 2)
            outputs["predict_proba"] = TableOutput(self._probabilities, Datatype.FP64, width, labels)
        scores = partial(self._value, raw_score=True)
        outputs["predict_raw"] = TableOutput(
            scores, Datatype.FP64, columns, labels if columns == len(labels) else ()
        )
        leaves = partial(self._value, pred_leaf=True)
        outputs["predict_leaf"] = TableOutput(leaves, Datatype.INT32, -1)
        return outputs

    def _value(self, values: Any, **how: Any) -> Any:
        return self._booster.predict(values, num_threads=self._threads, **how)

    def _probabilities(self, values: Any) -> Any:
        found = self._value(values)
        return found if found.ndim == 2 else np.column_stack((1.0 - found, found))

    def _class(self, values: Any) -> Any:
        assert self._classes is not None
        return self._classes[np.argmax(self._probabilities(values), axis=1)]
