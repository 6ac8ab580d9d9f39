"""Model settings: the contents of a ``model-settings.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlsrv.errors import ConfigurationError
from mlsrv.settings.fields import setting, settings_class
from mlsrv.settings.parameters import ModelParameters
from mlsrv.settings.sections import Layer, Owner, Sections, resolve
from mlsrv.settings.server import KERNEL_DISTRIBUTION, read_object
from mlsrv_protocol.errors import MLSrvError
from mlsrv_protocol.types import MetadataTensor

_T = TypeVar("_T")


@settings_class
class KernelModelSettings:
    """The model settings that the kernel itself owns; every other one belongs to a plugin."""

    platform: str = setting("", help="Framework that trained the model, shown in its metadata.")
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
        None, help="Requests that may be waiting or running at once; the server's max_in_flight when not set."
    )


_IDENTITY = ("name", "implementation", "parameters", "inputs", "outputs")


class ModelSettings:
    """Settings of one version of one model, flat: fields of the kernel and of every plugin side by side.

    Attributes:
        name: the model's name.
        implementation: the runtime: its short name (``"sklearn"``), a dotted path (``"models.MyRuntime"``,
            from the model's folder), or a class; None lets the artifact decide.
        parameters: see `ModelParameters`.
        inputs, outputs: declared tensors, as `MetadataTensor`.
        source: the file that they were read from, or None.
    """

    def __init__(
        self,
        name: str = "",
        implementation: str | type | None = None,
        parameters: ModelParameters | Mapping[str, Any] | None = None,
        inputs: Sequence[MetadataTensor | Mapping[str, Any]] = (),
        outputs: Sequence[MetadataTensor | Mapping[str, Any]] = (),
        *,
        source: Path | None = None,
        **fields: Any,
    ) -> None:
        if not isinstance(name, str):
            raise ConfigurationError(f"name: expected a text, got {name!r}")
        if implementation is not None and not isinstance(implementation, str | type):
            raise ConfigurationError(f"implementation: expected a text, got {implementation!r}")
        self.name = name
        self.implementation = implementation
        self.parameters = _parameters(parameters)
        self.inputs = _tensors("inputs", inputs)
        self.outputs = _tensors("outputs", outputs)
        self.source = source
        self._layers: tuple[Layer, ...] = (Layer(str(source) if source else "code", fields),)
        self._sections: Sections | None = None

    @property
    def version(self) -> str | None:
        """``parameters.version``."""
        return self.parameters.version

    @property
    def folder(self) -> Path | None:
        """The folder of the settings file, from which custom code is imported, or None."""
        return self.source.parent if self.source else None

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self._layers

    @classmethod
    def parse_obj(cls, values: Mapping[str, Any], source: Path | None = None) -> ModelSettings:
        """From plain data, as in the file; ``model`` is another spelling of ``name``.

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
        elif "://" not in uri:
            made.parameters.uri = str(source.parent / uri)
        return made

    def resolve(self, owners: Sequence[Owner], environment: Layer | None = None) -> ModelSettings:
        """The same settings with every field of the kernel and of plugins converted; `environment` beats the
        file.

        Raises:
            ConfigurationError: with one sentence for each unknown key and each value of a wrong type.
        """
        layers = (*self._layers, environment) if environment else self._layers
        sections, problems = resolve([Owner(KERNEL_DISTRIBUTION, KernelModelSettings), *owners], layers)
        if problems:
            raise ConfigurationError(problems)
        made = self.copy()
        made._sections = sections
        return made

    def copy(self, **changes: Any) -> ModelSettings:
        """A copy with other values for attributes (`name`, `implementation`, `parameters`, `inputs`,
        `outputs`)."""
        made = ModelSettings.__new__(ModelSettings)
        made.__dict__.update(self.__dict__)
        made.inputs, made.outputs = list(self.inputs), list(self.outputs)
        for key, value in changes.items():
            setattr(made, key, value)
        return made

    def of(self, cls: type[_T]) -> _T:
        """The instance of one plugin's model settings class, or of `KernelModelSettings`."""
        return self._resolved().of(cls)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._resolved(), name)

    def __repr__(self) -> str:
        what = f"name={self.name!r}, version={self.version!r}, implementation={self.implementation!r}"
        return f"ModelSettings({what})"

    def _resolved(self) -> Sections:
        if self._sections is None:
            self._sections = self.resolve(())._resolved()
        return self._sections

    def effective(self) -> Sections:
        """Every field of the kernel and of plugins with its origin."""
        return self._resolved()


def _parameters(value: ModelParameters | Mapping[str, Any] | None) -> ModelParameters:
    if isinstance(value, ModelParameters):
        return value
    if value is None:
        return ModelParameters()
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"parameters: expected an object, got {value!r}")
    return ModelParameters(**{str(key): item for key, item in value.items()})


def _tensors(where: str, values: Any) -> list[MetadataTensor]:
    if not isinstance(values, list | tuple):
        raise ConfigurationError(f"{where}: expected a list, got {values!r}")
    made: list[MetadataTensor] = []
    for index, value in enumerate(values):
        if isinstance(value, MetadataTensor):
            made.append(value)
            continue
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"{where}[{index}]: expected an object, got {value!r}")
        try:
            made.append(MetadataTensor(**value))
        except (TypeError, MLSrvError) as error:
            raise ConfigurationError(f"{where}[{index}]: {error}") from None
    return made
