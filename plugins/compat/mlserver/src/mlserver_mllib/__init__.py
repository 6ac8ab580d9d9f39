"""Spark MLlib runtime of mlsrv under MLServer's name."""

from __future__ import annotations

from typing import ClassVar

from mlsrv_mlserver.runtimes import Runtime

__all__ = ["MLlibModel"]


class MLlibModel(Runtime):
    """Serves models of Spark MLlib, and may be derived from."""

    target: ClassVar[str] = "mlsrv_mllib:MLlibModel"
    plugin: ClassVar[str] = "mlsrv-mllib"
    attribute: ClassVar[str] = "_scorer"
