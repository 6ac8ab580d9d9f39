"""XGBoost runtime of mlsrv under MLServer's name."""

from __future__ import annotations

from typing import ClassVar

from mlsrv_mlserver.runtimes import Runtime

__all__ = ["XGBoostModel"]


class XGBoostModel(Runtime):
    """Serves models of XGBoost, and may be derived from."""

    target: ClassVar[str] = "mlsrv_xgboost:XGBoostModel"
    plugin: ClassVar[str] = "mlsrv-xgboost"
    attribute: ClassVar[str] = "_booster"
