"""Parameters: the object ``parameters`` of a ``model-settings.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Attribute, define, field

from mlsrv.errors import ConfigurationError


def _text(_parameters: ModelParameters, attribute: Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"parameters.{attribute.name}: expected a text, got {value!r}")


def _version(value: Any) -> Any:
    # Settings files may have `"version": 2`. In protobuf, an empty version means none.
    return str(value) if type(value) in (int, float) else value or None


def _object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"parameters.extra: expected an object, got {value!r}")
    return {str(key): item for key, item in value.items()}


@define(init=False)
class ModelParameters:
    """Parameters of one version of a model.

    Attributes:
        uri: the artifact: a file, or a folder in which the runtime finds one. Relative to the settings file.
        version: the model's version; any text.
        content_type: default content type of requests.
        format: format of the artifact, for runtimes that cannot detect it.
        extra: settings of the runtime.
        others: every other key; each of them is readable as an attribute too.

    Raises:
        ConfigurationError: a value is not a text, or `extra` is not an object.
    """

    uri: str | None = field(default=None, validator=_text)
    version: str | None = field(default=None, converter=_version, validator=_text)
    content_type: str | None = field(default=None, validator=_text)
    format: str | None = field(default=None, validator=_text)
    extra: dict[str, Any] = field(factory=dict, converter=_object)
    others: dict[str, Any] = field(factory=dict)

    def __init__(
        self,
        /,
        uri: str | None = None,
        version: str | float | None = None,
        content_type: str | None = None,
        format: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        self.__attrs_init__(uri, version, content_type, format, extra, others)

    def __getattr__(self, name: str) -> Any:
        # Reached only when normal lookup fails; `others` itself is missing while an instance is unpickled.
        if name.startswith("__") or name == "others" or name not in self.others:
            raise AttributeError(f"parameters has no {name!r}")
        return self.others[name]

    def dict(self) -> dict[str, Any]:
        """Return plain data, without the fields that are not set."""
        named = {
            "uri": self.uri,
            "version": self.version,
            "content_type": self.content_type,
            "format": self.format,
            "extra": self.extra,
        }
        return {key: value for key, value in named.items() if value} | self.others
