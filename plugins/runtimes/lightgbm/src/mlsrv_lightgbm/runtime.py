"""LightGBM runtime: predictions of LightGBM's boosters and estimators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import lightgbm
import numpy as np

from mlsrv.errors import InferenceError
from mlsrv.types import Datatype
from mlsrv_lightgbm.artifact import read
from mlsrv_lightgbm.plugin import ARTIFACTS
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
        self._categories = _categories(self._booster)
        return self._features(), self._outputs()

    def prepare(self, values: Any) -> Any:
        """Return the table; texts in categorical columns become categories, which LightGBM maps to its
        own."""
        if isinstance(values, np.ndarray):
            if values.dtype == object:
                raise InferenceError(
                    f"Model {self.name} takes numbers; send texts as columns of their own, with the content "
                    'type "pd".'
                )
            return values
        columns = [values.columns[number] for number in self._categories]
        dtypes = {column: "category" for column in columns if values[column].dtype.kind == "O"}
        return values.astype(dtypes) if dtypes else values

    def _features(self) -> Features:
        names = tuple(self._booster.feature_name())
        if all(map(_MADE_UP.fullmatch, names)):
            return Features(len(names), datatype=Datatype.FP64)
        datatypes = [Datatype.FP64] * len(names)
        for number, known in self._categories.items():
            is_text = all(isinstance(category, str) for category in known)
            datatypes[number] = Datatype.BYTES if is_text else Datatype.INT64
        return Features(len(names), names, tuple(datatypes))

    def _outputs(self) -> dict[str, TableOutput]:
        columns = self._booster.num_model_per_iteration()
        outputs = {"predict": TableOutput(self._value, Datatype.FP64, columns)}
        if self._classes is not None:
            outputs["predict"] = TableOutput(self._class, Datatype.from_numpy(self._classes.dtype))
        if self._classes is not None or self._objective() in _PROBABLE:
            # A single column holds the second of two classes.
            outputs["predict_proba"] = TableOutput(self._probabilities, Datatype.FP64, max(columns, 2))
        outputs["predict_raw"] = TableOutput(partial(self._value, raw_score=True), Datatype.FP64, columns)
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

    def _objective(self) -> str:
        return str(self._booster.params.get("objective", ""))


def _categories(booster: Any) -> dict[int, list[Any]]:
    """Return the categories of each pandas-categorical feature, by its number.

    The model tells which features these are only if no other features were declared categorical.
    """
    # An unpickled booster has them under the first of these names, one from a text under the second.
    numbers = booster.params.get("categorical_column") or booster.params.get("categorical_feature") or []
    known = booster.pandas_categorical or []
    return dict(zip(numbers, known, strict=True)) if len(numbers) == len(known) else {}
