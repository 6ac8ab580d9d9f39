"""Elsewhere: the refusals of pipelines that cannot run: in another executor, and those of Tempo."""

from __future__ import annotations

from mlsrv.errors import ModelLoadError
from mlsrv.model import MLModel


class Pipeline(MLModel):
    """Stands for the runtime ``pipeline``; the executor of that name runs it."""

    async def load(self) -> bool:
        raise ModelLoadError(
            f'Model {self.name}: a pipeline runs in the executor "pipeline"; '
            'set "executor": "pipeline" in its settings.'
        )


class TempoPipeline(MLModel):
    """Stands for the runtime of Tempo, for which there is no other place."""

    async def load(self) -> bool:
        raise ModelLoadError(
            f"Model {self.name}: an artifact of Tempo cannot be served, since Tempo needs pydantic 1 and has "
            'no newer version; describe its steps in a model of the runtime "pipeline", or write its '
            "function with mlsrv.ask."
        )
