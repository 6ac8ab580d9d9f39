"""Middleware: ASGI middleware of other plugins."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp

from mlsrv.errors import ConfigurationError
from mlsrv.kernel_api import KernelAPI

_HOOK = "mlsrv_rest_middleware"


def all_middleware(kernel: KernelAPI) -> list[Callable[[ASGIApp], ASGIApp]]:
    """Return the middleware of all plugins, outermost first.

    Raises:
        ConfigurationError: a plugin returned something that cannot be called.
    """
    found = []
    for label, middleware in kernel.each(_HOOK, kernel=kernel):
        if not callable(middleware):
            raise ConfigurationError(
                f"The plugin {label} returned a {type(middleware).__name__} for {_HOOK}, "
                "not a function that makes an application of another one."
            )
        found.append(middleware)
    return found
