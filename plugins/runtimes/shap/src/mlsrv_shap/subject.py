"""Subject: a fitted model that is explained, read from its artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv_runtime_kit import missing_module, unreadable

ARTIFACTS = ("model.json", "model.ubj", "model.txt", "model.bst", "model.cbm", "model.joblib", "model.pkl")
"""File names that are looked for, in this order, when ``parameters.uri`` is a folder."""

PICKLES = (".joblib", ".pkl", ".pickle")

_BEFORE_TREES = 512
"""Bytes at the beginning of a text file of LightGBM that say what it is."""


@frozen(eq=False)
class Subject:
    """A model that is explained.

    Attributes:
        model: as shap takes it.
        raw: what the values add up to, for a matrix: [rows] or [rows, outputs].
        space: what that is: ``margin`` (before it becomes a probability), ``probability`` or ``value``.
        kind: of the explainer that fits it best.
        count: of the features; None if unknown.
        names: of the features; empty if unknown.
        labels: of the outputs, for those of a classifier.
    """

    model: Any
    raw: Callable[[Any], Any]
    space: str
    kind: str
    count: int | None
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def width(self) -> int:
        """Return how many outputs it has; 0 if that is unknown."""
        if self.count is None:
            return 0
        found = np.asarray(self.raw(np.zeros((1, self.count))))
        return 1 if found.ndim < 2 else found.shape[1]


def read(name: str, path: Path, threads: int) -> Subject:
    """Return the model in a file.

    Args:
        name: of the explaining model, for messages.
        path: by its ending: of XGBoost (.json, .ubj), CatBoost (.cbm), LightGBM (.txt), XGBoost or LightGBM
            (.bst), or an estimator of joblib or pickle, which run its code.
        threads: that a prediction may use.

    Raises:
        ModelLoadError: it cannot be read, or cannot be explained rightly.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in PICKLES:
            import joblib

            return _of_estimator(name, joblib.load(path), threads)
        if suffix == ".cbm":
            return _of_catboost(name, path)
        if suffix in (".txt", ".bst") and path.read_bytes()[:_BEFORE_TREES].startswith(b"tree"):
            import lightgbm

            return _of_lightgbm(lightgbm.Booster(model_file=path))
        if suffix in (".json", ".ubj", ".bst"):
            import xgboost

            return _of_xgboost(name, xgboost.Booster(model_file=path), threads)
    except ModelLoadError:
        raise
    except ImportError as error:
        raise missing_module(name, path, error) from error
    except Exception as error:  # a damaged file fails in any way
        raise unreadable(name, path, "a model", error, "save it again") from error
    raise ModelLoadError(f"Model {name}: {path} has none of the endings of models that can be explained.")


def _of_estimator(name: str, found: Any, threads: int) -> Subject:
    library = type(found).__module__.partition(".")[0]
    if library == "xgboost":
        return _of_xgboost(name, found.get_booster(), threads)
    if library == "lightgbm":
        return _of_lightgbm(getattr(found, "booster_", found))
    if library == "catboost":
        return _with_catboost(name, found)
    names = tuple(map(str, getattr(found, "feature_names_in_", ())))
    count = getattr(found, "n_features_in_", None)
    labels = tuple(map(str, getattr(found, "classes_", ())))
    kind = type(found).__name__
    if "IsolationForest" in kind:
        raise ModelLoadError(
            f"Model {name}: for an IsolationForest, shap explains the length of paths, not its score; "
            "choose another model."
        )
    if np.any(getattr(found, "is_categorical_", None)):
        raise ModelLoadError(
            f"Model {name}: shap computes wrong values for a {kind} with categories of its own; encode them "
            "before the model."
        )
    if _is_boosting(kind):
        return Subject(found, _boosted(found), _boosted_space(found), "tree", count, names, labels)
    if "Forest" in kind or "DecisionTree" in kind or "ExtraTree" in kind:
        is_classifier = hasattr(found, "predict_proba")
        raw = found.predict_proba if is_classifier else found.predict
        return Subject(found, raw, "probability" if is_classifier else "value", "tree", count, names, labels)
    if hasattr(found, "coef_") and np.ndim(found.coef_) <= 2:
        is_classifier = hasattr(found, "decision_function")
        raw = found.decision_function if is_classifier else found.predict
        return Subject(found, raw, "margin" if is_classifier else "value", "linear", count, names, labels)
    if hasattr(found, "predict_proba"):
        return Subject(found, found.predict_proba, "probability", "permutation", count, names, labels)
    if not hasattr(found, "predict"):
        raise ModelLoadError(f"Model {name}: a {kind} has no method predict.")
    return Subject(found, found.predict, "value", "permutation", count, names)


def _is_boosting(kind: str) -> bool:
    return kind in (
        "GradientBoostingClassifier",
        "GradientBoostingRegressor",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
    )


def _boosted(found: Any) -> Callable[[Any], Any]:
    if hasattr(found, "decision_function"):
        decide: Callable[[Any], Any] = found.decision_function
        return decide
    if getattr(found, "loss", "") in ("poisson", "gamma"):
        return lambda values: np.log(found.predict(values))
    predict: Callable[[Any], Any] = found.predict
    return predict


def _boosted_space(found: Any) -> str:
    has_link = hasattr(found, "decision_function") or getattr(found, "loss", "") in ("poisson", "gamma")
    return "margin" if has_link else "value"


def _of_xgboost(name: str, booster: Any, threads: int) -> Subject:
    import xgboost

    if "c" in (booster.feature_types or ()):
        raise ModelLoadError(f"Model {name}: models of XGBoost with categories cannot be explained here.")
    booster.set_param({"nthread": threads})
    names = tuple(booster.feature_names or ())

    booster.feature_names, booster.feature_types = None, None  # shap hands it matrices without them

    def raw(values: Any) -> Any:
        return booster.predict(xgboost.DMatrix(values, nthread=threads), output_margin=True)

    return Subject(booster, raw, "margin", "tree", booster.num_features(), names)


def _of_lightgbm(booster: Any) -> Subject:
    names = tuple(booster.feature_name())
    if all(name == f"Column_{index}" for index, name in enumerate(names)):
        names = ()
    return Subject(
        booster,
        lambda values: booster.predict(values, raw_score=True),
        "margin",
        "tree",
        booster.num_feature(),
        names,
    )


def _of_catboost(name: str, path: Path) -> Subject:
    import catboost

    found = catboost.CatBoost()
    found.load_model(str(path))
    return _with_catboost(name, found)


def _with_catboost(name: str, found: Any) -> Subject:
    if found.get_cat_feature_indices():
        raise ModelLoadError(f"Model {name}: models of CatBoost with categories cannot be explained here.")
    names = tuple(found.feature_names_ or ())
    if all(one == str(index) for index, one in enumerate(names)):
        names = ()
    labels = tuple(map(str, found.classes_)) if found.classes_ is not None else ()
    return Subject(
        found,
        lambda values: found.predict(values, prediction_type="RawFormulaVal"),
        "margin" if len(labels) else "value",
        "tree",
        len(found.feature_names_),
        names,
        labels,
    )
