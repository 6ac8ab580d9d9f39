"""Offers: the small frozen records that a plugin hands to the kernel, each with a name and a target.

A target is either the object itself or a string ``"package.module:Attribute"``, which is imported
only when the thing is needed. Plugins use strings, so that importing ``plugin.py`` stays cheap.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from attrs import NOTHING, Attribute, field, fields, frozen, has
from attrs.validators import in_

if TYPE_CHECKING:
    from mlsrv.settings import Settings

Target: TypeAlias = "str | Callable[..., Any]"


def resolve_target(target: Target) -> Any:
    """Import what a lazy target names; any other object is returned as it is.

    Raises:
        ImportError, AttributeError: the module or the attribute does not exist.
    """
    if not isinstance(target, str):
        return target
    module_name, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def adapted(found: Any, kind: type[Any]) -> Any:
    """Return the class that stands for one of another library, or what was found if there is none.

    A class that is no subclass of `kind` may have an attribute ``__mlsrv_class__``: a target whose function
    takes the class, and returns the subclass of `kind` that serves it. So a plugin lets classes that were
    written for other servers run here.
    """
    if isinstance(found, type) and not issubclass(found, kind):
        target: Target | None = getattr(found, "__mlsrv_class__", None)
        if target is not None:
            return resolve_target(target)(found)
    return found


def _check_name(_offer: Any, _attribute: Attribute[Any], value: object) -> None:
    if not (isinstance(value, str) and value.strip()):
        raise ValueError(f"the name of an offer must be a text, not {value!r}")


def _check_target(_offer: Any, _attribute: Attribute[Any], value: Target) -> None:
    if isinstance(value, str) and not all(value.partition(":")):
        raise ValueError(f'the target {value!r} must read "package.module:Attribute"')


@frozen
class SettingsOffer:
    """Settings that a plugin owns.

    Attributes:
        scope: ``"server"`` for keys of ``settings.json``, ``"model"`` for keys of ``model-settings.json``.
        cls: a frozen attrs class made with `mlsrv.settings.setting` fields, each with a default.
        parameters: keys of the object ``parameters`` of model settings that the plugin reads, too; the
            environment may give each as ``MLSRV_MODEL_KEY``.
    """

    scope: Literal["server", "model"] = field(validator=in_(("server", "model")))
    cls: type = field()
    parameters: tuple[str, ...] = ()

    @cls.validator
    def _check_cls(self, _attribute: Attribute[Any], value: type) -> None:
        if not has(value):
            raise ValueError(f"{value!r} is not a settings class; make it with mlsrv.settings.settings_class")
        required = [attribute.name for attribute in fields(value) if attribute.default is NOTHING]
        if required:
            raise ValueError(f"the settings {', '.join(required)} of {value.__name__} need a default")


@frozen
class CodecOffer:
    """A codec that every model may use.

    Attributes:
        name: the content type, for example ``"np"``.
        target: an `mlsrv.codecs.InputCodec` or `mlsrv.codecs.RequestCodec` class.
        kind: ``"input"`` for one tensor, ``"request"`` for a whole request. One name may be offered once as
            each.
        payloads: the Python types that it encodes, as ``"package.ClassName"`` (``"numpy.ndarray"``,
            ``"builtins.list"``); the codec is imported only when a payload of such a type turns up. If codecs
            of two plugins encode one payload, the one that names the nearest class wins; a tie is an error
            that names both. A codec without payloads is asked last.
        sample: a text that the codec decodes, for warm-up requests that are made of declared inputs.
        parameters: keys of tensor parameters that tell the codec how the data is encoded (``"pd_dtype"``).
            Requests are joined into a batch only if their values are equal.
    """

    name: str = field(validator=_check_name)
    target: Target = field(validator=_check_target)
    kind: Literal["input", "request"] = "input"
    payloads: tuple[str, ...] = ()
    sample: str = ""
    parameters: tuple[str, ...] = ()


@frozen
class RuntimeOffer:
    """An inference runtime.

    Attributes:
        name: what users write in ``implementation``, for example ``"sklearn"``.
        target: an `mlsrv.MLModel` class.
        artifacts: well-known file names (``"model.joblib"``) and patterns (``"*.skops"``) of its models; they
            select the runtime when ``implementation`` is absent. Names that several frameworks use are a
            matter of the hook ``mlsrv_select_runtime``, which looks into the files.
        aliases: further dotted names that mean the same runtime.
    """

    name: str = field(validator=_check_name)
    target: Target = field(validator=_check_target)
    artifacts: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@frozen
class RepositoryOffer:
    """A kind of model repository.

    Attributes:
        name: what users write in ``model_repository_implementation``.
        target: an `mlsrv.repository.ModelRepository` class.
        priority: the offer with the highest is used where the setting names none; of equals, the first one.
    """

    name: str = field(validator=_check_name)
    target: Target = field(validator=_check_target)
    priority: int = 0


@frozen
class ExecutorOffer:
    """A place where models run. The target is an `mlsrv.executor.Executor` class."""

    name: str = field(validator=_check_name)
    target: Target = field(validator=_check_target)


@frozen
class TransportOffer:
    """A way in for requests.

    Attributes:
        name: for example ``"rest"``.
        target: an `mlsrv.transport.Transport` class.
        enabled: asked once at boot with the resolved settings; the target is imported only if it says True.
    """

    name: str = field(validator=_check_name)
    target: Target = field(validator=_check_target)
    enabled: Callable[[Settings], bool] = lambda settings: True


@frozen
class MeterOffer:
    """A backend for metrics. The target is an `mlsrv.metrics.Meter` class; several may be on at once."""

    name: str = field(validator=_check_name)
    target: Target = field(validator=_check_target)
    enabled: Callable[[Settings], bool] = lambda settings: True


NamedOffer: TypeAlias = (
    "CodecOffer | RuntimeOffer | RepositoryOffer | ExecutorOffer | TransportOffer | MeterOffer"
)
Offer: TypeAlias = "SettingsOffer | NamedOffer"
