"""Plugin: the hooks of mlsrv-pipeline."""

from __future__ import annotations

import mlsrv


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``pipeline``."""
    return mlsrv.RuntimeOffer("pipeline", "mlsrv_pipeline.elsewhere:Pipeline")


@mlsrv.hookimpl
def mlsrv_executors() -> mlsrv.ExecutorOffer:
    """Offer the place where pipelines run: beside the kernel, without a worker of their own."""
    return mlsrv.ExecutorOffer("pipeline", "mlsrv_pipeline.executor:PipelineExecutor")
