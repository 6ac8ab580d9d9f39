"""Custom handlers: methods of a model that transports offer beside inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])
_MARK = "__mlsrv_handler__"


def custom_handler(rest_path: str, rest_method: str = "POST") -> Callable[[_F], _F]:
    """Mark a method of an `MLModel` as a custom handler.

    Args:
        rest_path: path of the route, below the model's own path unless it says otherwise.
        rest_method: HTTP verb.
    """

    def mark(function: _F) -> _F:
        setattr(function, _MARK, {"rest_path": rest_path, "rest_method": rest_method.upper()})
        return function

    return mark


def handlers_of(cls: type) -> dict[str, Mapping[str, Any]]:
    """The custom handlers of a class: attribute name -> the options that they were marked with."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in dir(cls):
        options = getattr(getattr(cls, name, None), _MARK, None)
        if options is not None:
            found[name] = options
    return found
