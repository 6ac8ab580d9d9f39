"""Repository: finds the settings of models in folders; the base class of repositories of one's own."""

from __future__ import annotations

import asyncio
import builtins
from pathlib import Path
from typing import Any, ClassVar

from mlserver.errors import ModelNotFound
from mlserver.settings import ModelSettings

__all__ = ["DEFAULT_MODEL_SETTINGS_FILENAME", "ModelRepository", "SchemalessModelRepository"]

DEFAULT_MODEL_SETTINGS_FILENAME = "model-settings.json"


class ModelRepository:
    """Base class of repositories: `list` returns the settings of every model, `find` those of one name."""

    __mlsrv_class__: ClassVar[str] = "mlsrv_mlserver.served_repository:served_repository"

    def __init__(self, root: str | None = None, **args: Any) -> None:
        self._root = root

    async def list(self) -> builtins.list[ModelSettings]:
        """Return the settings of every version of every model."""
        raise NotImplementedError(f"{type(self).__name__} has no list")

    async def find(self, name: str) -> builtins.list[ModelSettings]:
        """Return the settings of every version of a model.

        Raises:
            ModelNotFound: there is none.
        """
        found = [settings for settings in await self.list() if settings.name == name]
        if not found:
            raise ModelNotFound(name)
        return found


class SchemalessModelRepository(ModelRepository):
    """Finds a ``model-settings.json`` in the root and the folders below it."""

    async def list(self) -> builtins.list[ModelSettings]:
        return await asyncio.to_thread(_read_all, Path(self._root or "."))


def _read_all(root: Path) -> list[ModelSettings]:
    found = []
    for path in sorted(root.rglob(DEFAULT_MODEL_SETTINGS_FILENAME)):
        made = ModelSettings.parse_file(path)
        made.name = made.name or path.parent.name
        found.append(made)
    return found
