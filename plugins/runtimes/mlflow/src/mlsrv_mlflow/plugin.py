"""Plugin: the hooks of mlsrv-mlflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mlsrv

DESCRIPTION = "MLmodel"
"""The file that makes a folder a model of MLflow."""


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``mlflow``."""
    return mlsrv.RuntimeOffer(
        "mlflow",
        "mlsrv_mlflow.runtime:MLflowRuntime",
        artifacts=(DESCRIPTION,),
        aliases=("mlserver_mlflow.MLflowRuntime", "mlsrv_mlflow.MLflowRuntime"),
    )


@mlsrv.hookimpl
def mlsrv_codecs() -> mlsrv.CodecOffer:
    """Offer the content type ``dict``."""
    return mlsrv.CodecOffer(
        "dict", "mlsrv_mlflow.codec:TensorDictCodec", kind="request", payloads=("builtins.dict",)
    )


@mlsrv.hookimpl
def mlsrv_select_runtime(model: mlsrv.ModelSettings, files: Sequence[Path]) -> str | None:
    """Choose ``mlflow`` for a folder with a file ``MLmodel``, although it contains artifacts of other
    frameworks."""
    return "mlflow" if any(file.name == DESCRIPTION for file in files) else None
