"""LightGBM runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_lightgbm import LightGBMModel

__all__ = ["WELLKNOWN_MODEL_FILENAMES", "LightGBMModel"]

WELLKNOWN_MODEL_FILENAMES = ["model.bst"]
