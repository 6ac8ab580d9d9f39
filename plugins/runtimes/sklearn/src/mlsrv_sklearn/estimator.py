"""Estimators: what a fitted estimator takes, gives and refuses."""

from __future__ import annotations

from typing import Any

import numpy as np

_DOCUMENTS = ("sklearn.feature_extraction.text", "sklearn.feature_extraction._")
"""Beginning of the modules of vectorizers and hashers, which take a list of documents."""

_LIBRARIES = ("sklearn", "numpy", "pandas", "scipy")


def takes_documents(estimator: Any) -> bool:
    """Return whether an estimator takes a list of documents: a vectorizer, or a pipeline, a union or a search
    that begins with one."""
    if hasattr(estimator, "best_estimator_"):
        return takes_documents(estimator.best_estimator_)
    if steps := getattr(estimator, "steps", None):
        first = next((step for _, step in steps if step is not None and step != "passthrough"), None)
        return first is not None and takes_documents(first)
    if parts := getattr(estimator, "transformer_list", None):
        return any(takes_documents(part) for _, part in parts if not isinstance(part, str))
    return type(estimator).__module__.startswith(_DOCUMENTS)


def labels_of(estimator: Any) -> dict[str, Any]:
    """Return the classes that the columns of outputs stand for, by output."""
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, list):  # of several targets
        return {f"predict_proba-{number}": found for number, found in enumerate(classes, 1)}
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        return {}
    found = {"predict_proba": classes}
    if len(classes) > 2:  # of two classes it is one column, for the second
        found["decision_function"] = classes
    return found


def is_refusal(error: Exception) -> bool:
    """Return whether an estimator refuses its input, which is the client's fault.

    It is a `ValueError`, or a failure on values of a wrong type within scikit-learn and the libraries below.
    Such a failure in code of the model's author is the model's.
    """
    if isinstance(error, ValueError):
        return True
    if not isinstance(error, TypeError | AttributeError | KeyError | IndexError):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return module.partition(".")[0] in _LIBRARIES
