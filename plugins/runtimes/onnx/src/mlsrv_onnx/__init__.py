"""ONNX runtime: serves ONNX models with mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_onnx.runtime import OnnxModel

__all__ = ["OnnxModel"]

# Lazy: loading the plugin does not import ONNX Runtime.
__getattr__ = lazy_exports(__name__, {"OnnxModel": "mlsrv_onnx.runtime"})
