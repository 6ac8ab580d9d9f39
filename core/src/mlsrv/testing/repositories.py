"""Repositories: a model repository in memory."""

from __future__ import annotations

from collections.abc import Sequence

from mlsrv.repository import Listing, ModelRepository


class MemoryRepository(ModelRepository):
    """Lists the models that it was given.

    The setting ``model_repository_implementation`` names it ("mlsrv.testing.MemoryRepository"), and
    ``model_repository_implementation_args`` hold the models: ``{"models": […]}``. The list may change while
    the kernel runs.
    """

    def __init__(self, root: str, models: Sequence[Listing] = ()) -> None:
        super().__init__(root)
        self.models = models

    async def list(self) -> list[Listing]:
        """Return the models that are in the list now."""
        return [*self.models]
