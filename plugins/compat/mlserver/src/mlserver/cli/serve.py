"""Serve: reads the settings of a folder."""

from __future__ import annotations

import json
from pathlib import Path

from mlserver.repository import SchemalessModelRepository
from mlserver.settings import ModelSettings, Settings

__all__ = ["DEFAULT_SETTINGS_FILENAME", "load_settings"]

DEFAULT_SETTINGS_FILENAME = "settings.json"


async def load_settings(folder: str | None = None) -> tuple[Settings, list[ModelSettings]]:
    """Return the settings of the server and of the models in a folder."""
    root = Path(folder or ".")
    path = root / DEFAULT_SETTINGS_FILENAME
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    settings = Settings.model_validate({"model_repository_root": str(root), **values})
    models: list[ModelSettings] = []
    if settings.load_models_at_startup:
        models = await SchemalessModelRepository(settings.model_repository_root).list()
    return settings, models
