"""XGBoost runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_xgboost import XGBoostModel

__all__ = ["XGBoostModel"]
