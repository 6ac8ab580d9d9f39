"""MLflow runtime: serves MLflow models with mlsrv, over MLflow's own scoring endpoints, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_mlflow.codec import TensorDictCodec
    from mlsrv_mlflow.runtime import MLflowRuntime

__all__ = ["MLflowRuntime", "TensorDictCodec"]

# Lazy: loading the plugin does not import MLflow.
__getattr__ = lazy_exports(
    __name__, {"MLflowRuntime": "mlsrv_mlflow.runtime", "TensorDictCodec": "mlsrv_mlflow.codec"}
)
