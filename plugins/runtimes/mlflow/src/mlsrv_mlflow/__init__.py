"""MLflow models for mlsrv, with MLflow's own scoring endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_mlflow.codec import TensorDictCodec
    from mlsrv_mlflow.runtime import MLflowRuntime

__all__ = ["MLflowRuntime", "TensorDictCodec"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import MLflow.
    if name == "MLflowRuntime":
        from mlsrv_mlflow.runtime import MLflowRuntime

        return MLflowRuntime
    if name == "TensorDictCodec":
        from mlsrv_mlflow.codec import TensorDictCodec

        return TensorDictCodec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
