"""Settings of the server and of models, and how plugins add theirs."""

from mlsrv.settings.fields import help_of, setting, settings_class
from mlsrv.settings.model import KernelModelSettings, ModelSettings
from mlsrv.settings.parameters import ModelParameters
from mlsrv.settings.sections import Effective, Layer, Owner
from mlsrv.settings.server import KernelSettings, Settings, environment_layers, file_layer

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
