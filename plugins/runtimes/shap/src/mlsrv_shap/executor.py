"""Executor: places explanations of other models of the server beside the kernel, which asks them."""

from __future__ import annotations

from typing import ClassVar

from mlsrv.errors import ModelLoadError
from mlsrv.executor import Executor, Placement
from mlsrv.settings import ModelSettings
from mlsrv.threads import run_in_own_thread


class ShapExecutor(Executor):
    """Places models of the runtime ``shap`` that name another model. Those with an artifact of their own run
    where any model runs."""

    priority: ClassVar[int] = 100

    def claims(self, model: ModelSettings) -> bool:
        return model.implementation == "shap" and "model" in model.parameters.extra

    async def load(self, model: ModelSettings) -> Placement:
        """Return the model.

        Raises:
            ModelLoadError: a setting is wrong.
        """
        asked = model.parameters.extra["model"]
        if not isinstance(asked, str) or not asked or asked == model.name:
            raise ModelLoadError(f"Model {model.name}: parameters.extra.model must name another model.")

        def place() -> Placement:
            from mlsrv_shap.placement import PlacedExplainer  # shap takes seconds to import

            return PlacedExplainer(self.kernel, model, asked)

        return await run_in_own_thread(place)
