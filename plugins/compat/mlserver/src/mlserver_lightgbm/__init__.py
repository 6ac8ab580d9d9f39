"""LightGBM runtime of mlsrv under MLServer's name."""

from __future__ import annotations

from typing import ClassVar

from mlsrv_mlserver.runtimes import Runtime

__all__ = ["LightGBMModel"]


class LightGBMModel(Runtime):
    """Serves models of LightGBM, and may be derived from."""

    target: ClassVar[str] = "mlsrv_lightgbm:LightGBMModel"
    plugin: ClassVar[str] = "mlsrv-lightgbm"
    attribute: ClassVar[str] = "_booster"
