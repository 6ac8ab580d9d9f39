"""Settings of the server and of models, and how plugins add theirs.

What plugins write their settings classes with is light; the rest is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlsrv.settings.fields import help_of, setting, settings_class

if TYPE_CHECKING:
    from mlsrv.settings.model import KernelModelSettings, ModelSettings
    from mlsrv.settings.parameters import ModelParameters
    from mlsrv.settings.sections import Effective, Layer, Owner
    from mlsrv.settings.server import KernelSettings, Settings, environment_layers, file_layer

_HOMES = {
    "Effective": "sections",
    "KernelModelSettings": "model",
    "KernelSettings": "server",
    "Layer": "sections",
    "ModelParameters": "parameters",
    "ModelSettings": "model",
    "Owner": "sections",
    "Settings": "server",
    "environment_layers": "server",
    "file_layer": "server",
}

__all__ = [
    "Effective",
    "KernelModelSettings",
    "KernelSettings",
    "Layer",
    "ModelParameters",
    "ModelSettings",
    "Owner",
    "Settings",
    "environment_layers",
    "file_layer",
    "help_of",
    "setting",
    "settings_class",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mlsrv.settings' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"mlsrv.settings.{_HOMES[name]}"), name)
    return value
