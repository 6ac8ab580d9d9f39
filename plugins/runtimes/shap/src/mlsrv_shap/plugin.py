"""Plugin: the hooks of mlsrv-shap."""

from __future__ import annotations

import mlsrv


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``shap``, for artifacts of its own."""
    return mlsrv.RuntimeOffer("shap", "mlsrv_shap.runtime:ShapModel")


@mlsrv.hookimpl
def mlsrv_executors() -> mlsrv.ExecutorOffer:
    """Offer the place of explanations of other models of the server: beside the kernel, which asks them."""
    return mlsrv.ExecutorOffer("shap", "mlsrv_shap.executor:ShapExecutor")
