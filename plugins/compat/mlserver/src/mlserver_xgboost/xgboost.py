"""XGBoost runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_xgboost import XGBoostModel

__all__ = [
    "PREDICT_OUTPUT",
    "PREDICT_PROBA_OUTPUT",
    "VALID_OUTPUTS",
    "WELLKNOWN_MODEL_FILENAMES",
    "XGBoostModel",
]

PREDICT_OUTPUT = "predict"
PREDICT_PROBA_OUTPUT = "predict_proba"
VALID_OUTPUTS = [PREDICT_OUTPUT, PREDICT_PROBA_OUTPUT]

WELLKNOWN_MODEL_FILENAMES = ["model.bst", "model.json", "model.ubj"]
