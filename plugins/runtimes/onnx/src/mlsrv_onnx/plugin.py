"""Plugin: the hooks of mlsrv-onnx."""

from __future__ import annotations

import mlsrv

ARTIFACTS = ("model.onnx", "*.onnx", "*.ort")
"""File names that are looked for, in this order, when ``parameters.uri`` is a folder."""


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``onnx``."""
    return mlsrv.RuntimeOffer(
        "onnx",
        "mlsrv_onnx.runtime:OnnxModel",
        artifacts=ARTIFACTS,
        aliases=("mlserver_onnx.OnnxModel", "mlserver_onnx.ONNXModel", "mlsrv_onnx.OnnxModel"),
    )
