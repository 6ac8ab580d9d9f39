"""Executor: runs models of the runtime ``drift`` beside the kernel."""

from __future__ import annotations

from typing import ClassVar

from mlsrv.errors import ModelLoadError
from mlsrv.executor import Executor, Placement
from mlsrv.settings import ModelSettings
from mlsrv_drift.placement import PlacedDriftModel

SUFFIX = "-drift"


class DriftExecutor(Executor):
    """Places models of the runtime ``drift``."""

    priority: ClassVar[int] = 100

    def claims(self, model: ModelSettings) -> bool:
        return model.implementation == "drift"

    async def load(self, model: ModelSettings) -> Placement:
        """Return the model.

        Raises:
            ModelLoadError: neither its name nor ``parameters.extra.model`` says which model it is about.
        """
        watched = model.parameters.extra.get("model")
        if watched is None and model.name.endswith(SUFFIX):
            watched = model.name.removesuffix(SUFFIX)
        if not isinstance(watched, str) or not watched:
            raise ModelLoadError(
                f"Model {model.name}: name it after a model that is watched (NAME{SUFFIX}), or name that in "
                "parameters.extra.model."
            )
        return PlacedDriftModel(self.kernel, model, watched)
