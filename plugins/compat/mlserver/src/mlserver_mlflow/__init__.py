"""MLflow runtime of mlsrv under MLServer's name."""

from __future__ import annotations

from typing import ClassVar

from mlsrv_mlserver.runtimes import Runtime

__all__ = ["MLflowRuntime"]


class MLflowRuntime(Runtime):
    """Serves models of MLflow, and may be derived from."""

    target: ClassVar[str] = "mlsrv_mlflow:MLflowRuntime"
    plugin: ClassVar[str] = "mlsrv-mlflow"
    attribute: ClassVar[str] = "_model"
