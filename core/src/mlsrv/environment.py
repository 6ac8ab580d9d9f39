"""Model settings from the environment: ``MLSRV_MODEL_…``.

What identifies a model (name, implementation, uri, version, …) describes the one model of a folder that has
no ``model-settings.json``; every other field is laid over the file of each model.
"""

from __future__ import annotations

from typing import Any

from mlsrv.settings import Layer, ModelSettings

_IDENTITY = ("name", "implementation", "inputs", "outputs")
_PARAMETERS = ("uri", "version", "content_type", "format", "extra")


class ModelEnvironment:
    """The model fields of an environment.

    Attributes:
        overlay: the fields that beat those of every model's file.
    """

    def __init__(self, layer: Layer) -> None:
        self._identity = {key: value for key, value in layer.values.items() if key in _IDENTITY + _PARAMETERS}
        rest = {key: value for key, value in layer.values.items() if key not in self._identity}
        self.overlay = Layer(layer.origin, rest, layer.text, layer.names)

    def default_model(self) -> ModelSettings | None:
        """The model that the environment describes, or None if it names no implementation. Its ``uri`` is
        relative to the working directory."""
        if "implementation" not in self._identity and "uri" not in self._identity:
            return None
        values: dict[str, Any] = {
            key: _plain(self._identity[key]) for key in _IDENTITY if key in self._identity
        }
        values["parameters"] = {
            key: _plain(self._identity[key]) for key in _PARAMETERS if key in self._identity
        }
        values.setdefault("name", "default")
        return ModelSettings.parse_obj(values)


def _plain(value: Any) -> Any:
    from mlsrv.settings.convert import from_text

    return (
        from_text(value, str | list | dict)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "[")
        else value
    )
