"""Explainers: those of shap, with values of one form, which are checked to add up."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import shap
from attrs import frozen

from mlsrv.errors import ModelFailed, ModelLoadError
from mlsrv_shap.options import Matrix, Options
from mlsrv_shap.subject import Subject

# The answers of this release are the same for every framework, whatever they were before.
warnings.filterwarnings("ignore", "LightGBM binary classifier with TreeExplainer", UserWarning)

TOLERANCE = 1e-3
"""Part of the prediction (or of 1, if it is smaller) by which the sum of the values may differ from it."""

LEAST_EVALUATIONS = 500
"""Evaluations of the model for each row with the permutation explainer, unless it has many features."""


@frozen(eq=False)
class Explanation:
    """The contributions of the features of some rows.

    Attributes:
        values: float64, [rows, features], or [rows, features, outputs].
        expected: float64, [outputs]: the prediction without knowing any feature.
    """

    values: Matrix
    expected: Matrix


class Explainer:
    """Explains rows with one method of shap; one call at a time.

    Args:
        name: of the explaining model, for messages.
        kind: ``tree``, ``linear``, ``permutation`` or ``kernel``.
        compute: takes a matrix of rows; returns values and expected values as shap has them.
        predict: what the values must add up to.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        compute: Callable[[Matrix], tuple[Any, Any]],
        predict: Callable[[Matrix], Any],
    ) -> None:
        self.kind = kind
        self._name = name
        self._compute = compute
        self._predict = predict
        self._lock = threading.Lock()

    def explain(self, rows: Matrix) -> Explanation:
        """Return the contributions of the features of some rows, [rows, features].

        Raises:
            ModelFailed: they do not add up to the prediction.
            MLSrvError: as the model that is asked.
        """
        with self._lock:
            values, expected = self._compute(rows)
            found = Explanation(
                np.asarray(values, np.float64), np.atleast_1d(np.asarray(expected, np.float64)).reshape(-1)
            )
            self._check(found, np.asarray(self._predict(rows), np.float64))
        return found

    def _check(self, found: Explanation, predicted: Matrix) -> None:
        total = found.values.sum(axis=1) + (found.expected if found.values.ndim == 3 else found.expected[0])
        predicted = predicted.reshape(total.shape)
        gap = np.abs(total - predicted) / np.maximum(np.abs(predicted), 1.0)
        if not np.all(gap <= TOLERANCE):
            raise ModelFailed(
                f"Model {self._name}: the values of shap do not add up to the prediction (they differ by "
                f"{np.nanmax(np.abs(total - predicted)):.3g}); they would mislead."
            )


def of_subject(name: str, subject: Subject, options: Options) -> Explainer:
    """Return the explainer of a model of one's own.

    Raises:
        ModelLoadError: shap does not take the model, or a background is missing.
    """
    kind = subject.kind if options.explainer == "auto" else options.explainer
    if kind in ("permutation", "kernel"):
        return of_function(name, subject.raw, options, kind)
    make = shap.TreeExplainer if kind == "tree" else shap.LinearExplainer
    arguments = (subject.model,) if kind == "tree" else (subject.model, options.background_for(name, kind))
    try:
        made = make(*arguments)
    except Exception as error:  # shap refuses models with many types
        raise ModelLoadError(
            f"Model {name}: the explainer {kind} does not take a {type(subject.model).__name__} "
            f"({type(error).__name__}: {str(error)[:200]})."
        ) from error
    return Explainer(name, kind, lambda rows: (made.shap_values(rows), made.expected_value), subject.raw)


def of_function(
    name: str, predict: Callable[[Matrix], Any], options: Options, kind: str = "permutation"
) -> Explainer:
    """Return the explainer of any function of a matrix.

    Raises:
        ModelLoadError: a background is missing.
    """
    background = options.background_for(name, kind)

    def permutation(rows: Matrix) -> tuple[Any, Any]:
        masker = shap.maskers.Independent(background, max_samples=len(background))
        made = shap.PermutationExplainer(predict, masker, seed=options.seed)
        evaluations = max(LEAST_EVALUATIONS, 2 * rows.shape[1] + 1)
        found = made(rows, max_evals=evaluations, silent=True)
        return found.values, np.asarray(found.base_values)[0]

    def kernel(rows: Matrix) -> tuple[Any, Any]:
        made = shap.KernelExplainer(predict, background)
        return made.shap_values(rows, l1_reg=0, silent=True), made.expected_value

    return Explainer(name, kind, permutation if kind == "permutation" else kernel, predict)
