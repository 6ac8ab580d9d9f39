"""Sources: settings files and variables of the environment as layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsrv_settings_kit.errors import ConfigurationError
from mlsrv_settings_kit.known_plugins import owner_of
from mlsrv_settings_kit.sections import Layer

ENVIRONMENT_PREFIX = "MLSRV_"
MODEL_ENVIRONMENT_PREFIX = "MLSRV_MODEL_"
CLIENT_ENVIRONMENT_PREFIX = "MLSRV_CLIENT_"
"""Of variables for commands that ask a server, which are no settings of one."""


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        ConfigurationError: it cannot be read, is not JSON (with line and column), or is not an object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{path}: cannot be read: {reason}") from None
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        where = (
            f" at line {error.lineno}, column {error.colno}"
            if isinstance(error, json.JSONDecodeError)
            else ""
        )
        raise ConfigurationError(f"{path}: is not valid JSON{where}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: must hold one JSON object, not {type(found).__name__}")
    return found


def file_layer(path: Path) -> Layer:
    """Return the layer of a ``settings.json``."""
    return Layer(str(path), read_object(path), base=path.parent)


def environment_layers(environ: Mapping[str, str]) -> tuple[Layer, Layer]:
    """Return the server's and the models' layer of an environment.

    Variables are named ``MLSRV_HTTP_PORT``, ``MLSRV_MODEL_NAME``, …
    """
    server: dict[str, str] = {}
    model: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in sorted(environ.items()):
        upper = name.upper()
        if upper.startswith(CLIENT_ENVIRONMENT_PREFIX):
            continue
        if upper.startswith(MODEL_ENVIRONMENT_PREFIX):
            key = upper.removeprefix(MODEL_ENVIRONMENT_PREFIX).lower()
            # Servers have fields that begin with "model_", too: model_repository_root, model_signatures.
            if key.startswith("repository_") or owner_of("settings", f"model_{key}") is not None:
                server["model_" + key] = value
                names["model_" + key] = name
            else:
                model[key] = value
                names[key] = name
        elif upper.startswith(ENVIRONMENT_PREFIX):
            key = upper.removeprefix(ENVIRONMENT_PREFIX).lower()
            server[key] = value
            names[key] = name
    return Layer("environment", server, text=True, names=names), Layer(
        "environment", model, text=True, names=names
    )
