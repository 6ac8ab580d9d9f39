"""Elsewhere: the refusal of a model of the runtime ``drift`` that is placed where there are no monitors."""

from __future__ import annotations

from mlsrv.errors import ModelLoadError
from mlsrv.model import MLModel


class DriftModel(MLModel):
    """Stands for the runtime ``drift``; the executor of that name runs it."""

    async def load(self) -> bool:
        raise ModelLoadError(
            f'Model {self.name}: the runtime "drift" runs in the executor "drift"; '
            'set "executor": "drift" in its settings.'
        )
