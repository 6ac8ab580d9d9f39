"""CatBoost runtime of mlsrv under MLServer's name."""

from __future__ import annotations

from typing import ClassVar

from mlsrv_mlserver.runtimes import Runtime

__all__ = ["CatboostModel"]


class CatboostModel(Runtime):
    """Serves models of CatBoost, and may be derived from."""

    target: ClassVar[str] = "mlsrv_catboost:CatboostModel"
    plugin: ClassVar[str] = "mlsrv-catboost"
    attribute: ClassVar[str] = "_model"
