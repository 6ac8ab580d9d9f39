"""Custom: marks methods of models as endpoints of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["CustomHandler", "custom_handler", "get_custom_handlers", "register_custom_handler"]

_F = TypeVar("_F", bound=Callable[..., Any])
_MARK = "__custom_handler__"


@dataclass
class CustomHandler:
    """The route of a custom handler, at the root of the server."""

    rest_path: str
    rest_method: str = "POST"


def custom_handler(rest_path: str, rest_method: str = "POST") -> Callable[[_F], _F]:
    """Return a decorator that marks a method as an endpoint.

    Args:
        rest_path: at the root of the server, while no other model has it; it is below the path of the model,
            too.
        rest_method: verb of HTTP.
    """

    def mark(function: _F) -> _F:
        return register_custom_handler(CustomHandler(rest_path, rest_method), function)

    return mark


def register_custom_handler(handler: CustomHandler, function: _F) -> _F:
    """Mark a method as an endpoint."""
    setattr(function, _MARK, handler)
    return function


def get_custom_handlers(model: Any) -> list[tuple[CustomHandler, Callable[..., Any]]]:
    """Return the endpoints of a model, each with its bound method."""
    found = []
    for name in dir(type(model)):
        static = getattr(type(model), name, None)
        if isinstance(getattr(static, _MARK, None), CustomHandler):
            found.append((getattr(static, _MARK), getattr(model, name)))
    return found
