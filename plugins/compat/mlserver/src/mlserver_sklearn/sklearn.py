"""scikit-learn runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_sklearn import SKLearnModel

__all__ = [
    "PREDICT_FN_KEY",
    "PREDICT_OUTPUT",
    "PREDICT_PROBA_OUTPUT",
    "PREDICT_TRANSFORM",
    "VALID_OUTPUTS",
    "WELLKNOWN_MODEL_FILENAMES",
    "SKLearnModel",
]

PREDICT_FN_KEY = "predict_fn"
PREDICT_OUTPUT = "predict"
PREDICT_PROBA_OUTPUT = "predict_proba"
PREDICT_TRANSFORM = "transform"
VALID_OUTPUTS = [PREDICT_OUTPUT, PREDICT_PROBA_OUTPUT, PREDICT_TRANSFORM]

WELLKNOWN_MODEL_FILENAMES = ["model.joblib", "model.pickle", "model.pkl"]
