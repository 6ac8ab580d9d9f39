"""Plugin: the hooks of mlsrv-pipeline."""

from __future__ import annotations

import mlsrv


@mlsrv.hookimpl
def mlsrv_runtimes() -> tuple[mlsrv.RuntimeOffer, ...]:
    """Offer the runtime ``pipeline``, and a refusal of those of Tempo."""
    return (
        mlsrv.RuntimeOffer("pipeline", "mlsrv_pipeline.elsewhere:Pipeline"),
        mlsrv.RuntimeOffer(
            "tempo",
            "mlsrv_pipeline.elsewhere:TempoPipeline",
            aliases=("tempo.mlserver.InferenceRuntime", "tempo.mlserver.runtime.InferenceRuntime"),
        ),
    )


@mlsrv.hookimpl
def mlsrv_executors() -> mlsrv.ExecutorOffer:
    """Offer the place where pipelines run: beside the kernel, without a worker of their own."""
    return mlsrv.ExecutorOffer("pipeline", "mlsrv_pipeline.executor:PipelineExecutor")
