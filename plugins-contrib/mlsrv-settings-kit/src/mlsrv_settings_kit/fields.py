"""Fields: how settings classes are written, as frozen attrs classes with flat, documented fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import attrs

_T = TypeVar("_T")


def setting(
    default: Any = attrs.NOTHING,
    *,
    help: str,
    factory: Any = None,
    at_least: float | None = None,
    secret: bool = False,
    path: bool = False,
) -> Any:
    """Define a field of a settings class.

    Args:
        default: its value when no source sets it.
        help: what it does, in one or two sentences, with units; shown by ``mlsrv config show``.
        factory: makes the default of a mutable value.
        at_least: the smallest number that it takes; None is not checked.
        secret: whether its value is masked where settings are shown, and left out of messages. Names such as
            ``api_token`` and the passwords of URLs are masked without it.
        path: whether a text is a path: in a settings file it counts from the folder of that file, elsewhere
            from the working directory.
    """
    default = attrs.Factory(factory) if factory is not None else default
    validator = None if at_least is None else _at_least(at_least)
    return attrs.field(
        default=default, validator=validator, metadata={"help": help, "secret": secret, "path": path}
    )


def _at_least(limit: float) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(_settings: Any, _attribute: attrs.Attribute[Any], value: float | None) -> None:
        if value is not None and not value >= limit:
            raise ValueError(f"expected at least {limit}, got {value}")

    return check


@dataclass_transform(field_specifiers=(setting,), frozen_default=True, kw_only_default=True)
def settings_class(cls: type[_T]) -> type[_T]:
    """Make a frozen settings class. Types of fields: bool, int, float, str, Literal, None, lists and dicts of
    these, and other settings classes."""
    made = attrs.frozen(kw_only=True)(cls)
    attrs.resolve_types(made)  # type: ignore[type-var]  # it is an attrs class, since the line above
    return made


def help_of(attribute: attrs.Attribute[Any]) -> str:
    """Return the help text of a field."""
    return str(attribute.metadata.get("help", ""))


def default_of(attribute: attrs.Attribute[Any]) -> Any:
    """Return the default of a field, a new one each time."""
    default: Any = attribute.default
    return default.factory() if hasattr(default, "factory") else default
