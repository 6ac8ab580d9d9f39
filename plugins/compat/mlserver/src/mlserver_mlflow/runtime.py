"""MLflow runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_mlflow import MLflowRuntime

__all__ = ["MLflowRuntime"]
