"""Model settings: the contents of a ``model-settings.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mlsrv.errors import ConfigurationError
from mlsrv.settings.parameters import ModelParameters
from mlsrv.settings.server import KERNEL_DISTRIBUTION
from mlsrv_protocol.errors import MLSrvError
from mlsrv_protocol.types import MetadataTensor
from mlsrv_settings_kit.fields import setting, settings_class
from mlsrv_settings_kit.hints import explain_unknown
from mlsrv_settings_kit.references import resolved
from mlsrv_settings_kit.sections import DEFAULT, FlatSettings, Layer, Owner, resolve
from mlsrv_settings_kit.sources import read_object
from mlsrv_settings_kit.uris import has_scheme


@settings_class
class KernelModelSettings:
    """The model settings that the kernel owns; all others belong to plugins."""

    platform: str | None = setting("", help="Framework that trained the model, shown in its metadata.")
    versions: list[str] = setting(
        factory=list, help="Versions of what trained the model, shown in its metadata."
    )
    executor: str | None = setting(
        None, help="Where this model runs, by name; the server's choice when not set."
    )
    check_inputs: bool = setting(
        True, help="Refuse requests that deviate from the model's declared inputs (names, datatypes, shapes)."
    )
    max_in_flight: int | None = setting(
        None,
        help="Requests that may be waiting or running at once; the server's max_in_flight when not set.",
        at_least=1,
    )
    max_in_flight_bytes: int | None = setting(
        None,
        help="Bytes of data that they may have; the server's max_in_flight_bytes when not set.",
        at_least=1,
    )
    load_timeout: float | None = setting(
        None,
        help="Seconds that it may take to load; the server's load_timeout when not set. null: no limit.",
        at_least=0.001,
    )
    request_timeout: float | None = setting(
        None,
        help="Seconds that a request may take; the server's request_timeout when not set. null: no limit.",
        at_least=0.001,
    )
    warm_up: bool | str | dict[str, Any] | list[Any] = setting(
        False,
        help="Requests to answer before the model is ready: one in JSON form, the path of one beside the "
        "settings, a list of these, or true for a sample of the declared inputs. Metrics of the server do "
        "not count them; those of the model's own code do.",
    )


_TENSOR = tuple(attribute.name for attribute in attrs.fields(MetadataTensor))
_OTHERS = ("name", "implementation", "parameters", "inputs", "outputs")


class ModelSettings(FlatSettings):
    """Settings of one version of one model, flat: fields of the kernel and of every plugin side by side.

    Attributes:
        name: the model's name.
        implementation: the runtime: its short name (``"sklearn"``), a dotted path (``"models.MyRuntime"``,
            from the model's folder), or a class; None lets the artifact decide.
        parameters: see `ModelParameters`.
        inputs, outputs: declared tensors, as `MetadataTensor`.
        source: the file that they were read from, or None.
    """

    _own = Owner(KERNEL_DISTRIBUTION, KernelModelSettings)

    def __init__(
        self,
        /,
        name: str | None = None,
        implementation: str | type | None = None,
        parameters: ModelParameters | Mapping[str, Any] | None = None,
        inputs: Sequence[MetadataTensor | Mapping[str, Any]] | None = None,
        outputs: Sequence[MetadataTensor | Mapping[str, Any]] | None = None,
        *,
        source: Path | None = None,
        **fields: Any,
    ) -> None:
        problems: list[str] = []
        self.name: str = _checked(problems, _name, name)
        self.implementation: str | type | None = _checked(problems, _implementation, implementation)
        self.parameters: ModelParameters = _checked(problems, _parameters, parameters)
        self._unknown: list[str] = []
        self.inputs: list[MetadataTensor] = _checked(problems, _tensors, inputs, "inputs", self._unknown)
        self.outputs: list[MetadataTensor] = _checked(problems, _tensors, outputs, "outputs", self._unknown)
        self.source = source
        if problems:
            raise ConfigurationError(problems)
        origin, base = (str(source), source.parent) if source else ("code", None)
        super().__init__([Layer(origin, fields, base=base)])

    @property
    def version(self) -> str | None:
        """``parameters.version``."""
        return self.parameters.version

    @property
    def folder(self) -> Path | None:
        """The folder of the settings file, from which custom code is imported, or None."""
        return self.source.parent if self.source else None

    def sets(self, name: str) -> bool:
        """Return True if the file or the environment sets a field, be it to null; of resolved settings."""
        return self.effective().effective[name].origin != DEFAULT

    @classmethod
    def parse_obj(cls, values: Mapping[str, Any], source: Path | None = None) -> ModelSettings:
        """Make settings from plain data, as in the file. ``model`` is another spelling of ``name``.

        Raises:
            ConfigurationError: names the source and the field.
        """
        values = dict(values)
        if "model" in values:
            values.setdefault("name", values["model"])
            del values["model"]
        if "source" in values:
            raise ConfigurationError(f'{source or "model settings"}: unknown key "source"')
        try:
            if source is not None and "parameters" in values:
                values = {**values, "parameters": _with_references(values["parameters"], source.parent)}
            return cls(**values, source=source)
        except ConfigurationError as error:
            raise ConfigurationError(
                [f"{source}: {problem}" if source else problem for problem in error.problems]
            ) from None

    @classmethod
    def parse_file(cls, path: str | Path) -> ModelSettings:
        """Read a ``model-settings.json``. A relative ``parameters.uri`` becomes absolute, and without one it
        is the folder of the file; a missing name is the folder's.

        Raises:
            ConfigurationError: names the file and what is wrong in it.
        """
        source = Path(path).absolute()
        made = cls.parse_obj(read_object(source), source)
        made.name = made.name or source.parent.name
        uri = made.parameters.uri
        if uri is None:
            made.parameters.uri = str(source.parent)
        elif not has_scheme(uri):
            made.parameters.uri = str(source.parent / uri)
        return made

    def resolve(self, owners: Sequence[Owner], environment: Layer | None = None) -> ModelSettings:
        """Return the same settings with every field of the kernel and of plugins converted.

        Values of `environment` take precedence over those of the file.

        Raises:
            ConfigurationError: with one sentence for each unknown key and each value of a wrong type.
        """
        layers = (*self._layers, environment) if environment else self._layers
        made = self.copy()
        origin = f"{self.source}: " if self.source else ""
        unknown = [f"{origin}{sentence}" for sentence in self._unknown]
        made._sections = resolve([self._own, *owners], layers, others=_OTHERS, unknown_elsewhere=unknown)
        return made

    def copy(self, **changes: Any) -> ModelSettings:
        """Return a copy with other values for attributes.

        They are `name`, `implementation`, `parameters`, `inputs` and `outputs`.
        """
        made = ModelSettings.__new__(ModelSettings)
        made.__dict__.update(self.__dict__)
        made.inputs, made.outputs = list(self.inputs), list(self.outputs)
        for key, value in changes.items():
            setattr(made, key, value)
        return made

    def __repr__(self) -> str:
        what = f"name={self.name!r}, version={self.version!r}, implementation={self.implementation!r}"
        return f"ModelSettings({what})"


def _checked(problems: list[str], check: Callable[..., Any], *value: Any) -> Any:
    try:
        return check(*value)
    except ConfigurationError as error:
        problems += error.problems
        return None


def _name(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise ConfigurationError(f"name: expected a text, got {value!r}")


def _implementation(value: object) -> str | type | None:
    value = getattr(value, "__mlsrv_model__", value)
    if value is None or isinstance(value, str | type):
        return value
    raise ConfigurationError(f"implementation: expected a text, got {value!r}")


def _parameters(value: object) -> ModelParameters:
    if isinstance(value, ModelParameters):
        return value
    if value is None:
        return ModelParameters()
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"parameters: expected an object, got {value!r}")
    return ModelParameters(**{str(key): item for key, item in value.items()})


def _tensors(values: object, where: str, unknown: list[str]) -> list[MetadataTensor]:
    if values is None:
        return []
    if not isinstance(values, list | tuple):
        raise ConfigurationError(f"{where}: expected a list, got {values!r}")
    return [_tensor(value, f"{where}[{index}]", unknown) for index, value in enumerate(values)]


def _tensor(value: object, where: str, unknown: list[str]) -> MetadataTensor:
    if isinstance(value, MetadataTensor):
        return value
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where}: expected an object, got {value!r}")
    unknown += [f"{where}: {explain_unknown(str(key), _TENSOR)}" for key in value if key not in _TENSOR]
    try:
        # Python code gives shapes as tuples.
        plain = {key: list(item) if isinstance(item, tuple) else item for key, item in value.items()}
        return MetadataTensor.parse_obj(plain)
    except MLSrvError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _with_references(parameters: Any, base: Path) -> Any:
    try:
        return resolved(parameters, base)[0]
    except ValueError as error:
        raise ConfigurationError(f"parameters: {error}") from None
