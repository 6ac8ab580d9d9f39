"""Repository: finds the settings of models."""

from __future__ import annotations

from mlserver.repository.repository import (
    DEFAULT_MODEL_SETTINGS_FILENAME,
    ModelRepository,
    SchemalessModelRepository,
)

__all__ = ["DEFAULT_MODEL_SETTINGS_FILENAME", "ModelRepository", "SchemalessModelRepository"]
