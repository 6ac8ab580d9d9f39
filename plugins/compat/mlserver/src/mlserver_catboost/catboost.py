"""CatBoost runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_catboost import CatboostModel

__all__ = ["WELLKNOWN_MODEL_FILENAMES", "CatboostModel"]

WELLKNOWN_MODEL_FILENAMES = ["model.cbm", "model.bin"]
