"""Elsewhere: the refusal of a pipeline that is placed where it cannot ask other models."""

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
