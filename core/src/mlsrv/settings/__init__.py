"""Settings: those of the server and of models, and the tools with which plugins add theirs.

The names that plugins need to write settings classes are imported at once, the others on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports
from mlsrv_settings_kit.fields import help_of, setting, settings_class

if TYPE_CHECKING:
    from mlsrv.settings.model import KernelModelSettings, ModelSettings
    from mlsrv.settings.parameters import ModelParameters
    from mlsrv.settings.server import KernelSettings, Settings
    from mlsrv_settings_kit.sections import Effective, Layer, Owner
    from mlsrv_settings_kit.sources import environment_layers, file_layer

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

__getattr__ = lazy_exports(
    __name__,
    {
        "Effective": "mlsrv_settings_kit.sections",
        "KernelModelSettings": "mlsrv.settings.model",
        "KernelSettings": "mlsrv.settings.server",
        "Layer": "mlsrv_settings_kit.sections",
        "ModelParameters": "mlsrv.settings.parameters",
        "ModelSettings": "mlsrv.settings.model",
        "Owner": "mlsrv_settings_kit.sections",
        "Settings": "mlsrv.settings.server",
        "environment_layers": "mlsrv_settings_kit.sources",
        "file_layer": "mlsrv_settings_kit.sources",
    },
)
