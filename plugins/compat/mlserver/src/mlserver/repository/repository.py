"""Repository: finds the settings of models in folders; the base class of repositories of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlserver.errors import ModelNotFound
from mlserver.settings import ModelSettings

if TYPE_CHECKING:
    import mlsrv.repository

__all__ = ["DEFAULT_MODEL_SETTINGS_FILENAME", "ModelRepository", "SchemalessModelRepository"]

DEFAULT_MODEL_SETTINGS_FILENAME = "model-settings.json"


class ModelRepository:
    """Base class of repositories: `list` returns the settings of every model, `find` those of one name."""

    @classmethod
    def __mlsrv_class__(cls) -> type[mlsrv.repository.ModelRepository]:
        from mlsrv_mlserver.served_repository import served_repository

        return served_repository(cls)

    def __init__(self, root: str | None = None, **args: Any) -> None:
        self._root = root

    async def list(self) -> list[ModelSettings]:
        """Return the settings of every version of every model."""
        raise NotImplementedError(f"{type(self).__name__} has no list")

    async def find(self, name: str) -> list[ModelSettings]:  # type: ignore[valid-type]  # `list` is a method here
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

    async def list(self) -> list[ModelSettings]:
        paths = sorted(Path(self._root or ".").rglob(DEFAULT_MODEL_SETTINGS_FILENAME))
        return [self._read(path) for path in paths]

    def _read(self, path: Path) -> ModelSettings:
        made = ModelSettings.parse_file(path)
        made.name = made.name or path.parent.name
        return made
