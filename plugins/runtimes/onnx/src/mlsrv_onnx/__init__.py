"""ONNX models for mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_onnx.runtime import OnnxModel

__all__ = ["OnnxModel"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import ONNX Runtime.
    if name in __all__:
        from mlsrv_onnx.runtime import OnnxModel

        return OnnxModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
