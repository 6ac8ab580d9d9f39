"""Model environment: model settings from the environment, ``MLSRV_MODEL_…``.

Fields that identify a model (name, implementation, uri, version, …) describe the one model of a folder
without ``model-settings.json``; every other field takes precedence over the file of each model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mlsrv.errors import ConfigurationError
from mlsrv.settings import KernelModelSettings, Layer, ModelSettings, Owner
from mlsrv_settings_kit.convert import from_text
from mlsrv_settings_kit.known_plugins import known_names

_IDENTITY = ("name", "implementation", "inputs", "outputs")
_PARAMETERS = ("content_type", "extra", "format", "uri", "version")


def model_fields(owners: Iterable[Owner], parameters: Iterable[str]) -> set[str]:
    """Return the model fields that an environment may have, of the kernel and of plugins.

    Args:
        owners: the model settings classes of plugins.
        parameters: keys of the object ``parameters`` that installed plugins read.
    """
    classes = [KernelModelSettings, *(owner.cls for owner in owners)]
    named = {attribute.name for cls in classes for attribute in attrs.fields(cls)}
    return named | {*_IDENTITY, *_PARAMETERS, "parameters", *known_names("parameters"), *parameters}


class ModelEnvironment:
    """The model fields of an environment.

    Args:
        layer: the fields and their texts.
        parameters: keys of the object ``parameters`` that installed plugins read, beside those of known
            plugins.

    Attributes:
        overlay: the fields that take precedence over every model's file.
    """

    def __init__(self, layer: Layer, parameters: Iterable[str] = ()) -> None:
        self._parameters = {*_PARAMETERS, *known_names("parameters"), *parameters}
        identity = {*_IDENTITY, *self._parameters, "parameters"}
        self._identity = {key: _plain(value) for key, value in layer.values.items() if key in identity}
        rest = {key: value for key, value in layer.values.items() if key not in identity}
        self.overlay = attrs.evolve(layer, values=rest)

    def default_model(self) -> ModelSettings | None:
        """Return the model of the environment, or None if that names neither a runtime nor an artifact.

        Its ``uri`` is relative to the working directory.

        Raises:
            ConfigurationError: a value is wrong.
        """
        found = self._identity
        if "implementation" not in found and "uri" not in found:
            return None
        values = {key: found[key] for key in _IDENTITY if key in found}
        parameters = found.get("parameters", {})
        if isinstance(parameters, Mapping):
            parameters = {**parameters, **{key: found[key] for key in self._parameters if key in found}}
        try:
            return ModelSettings.parse_obj({"name": "default", **values, "parameters": parameters})
        except ConfigurationError as error:
            raise ConfigurationError([f"environment: {problem}" for problem in error.problems]) from None


def _plain(value: Any) -> Any:
    """Return the value of a text of the environment: JSON if it looks like a list or an object."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        return from_text(value, dict)
    return value
