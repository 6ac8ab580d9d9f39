"""Executor: runs pipelines beside the kernel, which takes their questions to other models."""

from __future__ import annotations

from typing import ClassVar

from mlsrv.executor import Executor, Placement
from mlsrv.settings import ModelSettings
from mlsrv_pipeline.definition import read
from mlsrv_pipeline.placement import PlacedPipeline


class PipelineExecutor(Executor):
    """Places models of the runtime ``pipeline``. They take no worker, so that no number of them can keep the
    models that they ask from running."""

    priority: ClassVar[int] = 100

    def claims(self, model: ModelSettings) -> bool:
        return model.implementation == "pipeline"

    async def load(self, model: ModelSettings) -> Placement:
        return PlacedPipeline(self.kernel, model, read(model))
