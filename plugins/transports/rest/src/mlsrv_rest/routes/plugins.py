"""Plugin routes: routes of the protocol and of other plugins, in matching order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from starlette.routing import BaseRoute, Route

from mlsrv.errors import ConfigurationError
from mlsrv.kernel_api import KernelAPI

_HOOK = "mlsrv_rest_routes"


def all_routes(kernel: KernelAPI, own: list[Route]) -> list[BaseRoute]:
    """Return the routes of the protocol and of all plugins.

    Paths without parameters come first, whichever plugin they belong to, and catch-all paths last.

    Raises:
        ConfigurationError: two of them have the same path and method, or a plugin returned another type.
    """
    found: list[tuple[str, BaseRoute]] = [("mlsrv-rest", route) for route in own]
    for label, route in _plugin_routes(kernel):
        if not isinstance(route, BaseRoute):
            raise ConfigurationError(
                f"The plugin {label} returned a {type(route).__name__} for {_HOOK}, not a route."
            )
        for other, known in found:
            if _conflict(known, route):
                raise ConfigurationError(
                    f"The route {_describe(route)} comes from both {other} and {label}; block one of them."
                )
        found.append((label, route))
    return sorted((route for _, route in found), key=_generality)


def _plugin_routes(kernel: KernelAPI) -> Iterator[tuple[str, object]]:
    for label, result in kernel.each(_HOOK, kernel=kernel):
        for route in result if isinstance(result, Iterable) else (result,):
            yield label, route


def _conflict(one: BaseRoute, other: BaseRoute) -> bool:
    if not isinstance(one, Route) or not isinstance(other, Route) or _pattern(one) != _pattern(other):
        return False
    return one.methods is None or other.methods is None or not one.methods.isdisjoint(other.methods)


def _pattern(route: Route) -> str:
    return re.sub(r"{[^}]*}", "{}", route.path)


def _describe(route: BaseRoute) -> str:
    methods = getattr(route, "methods", None) or {"*"}
    return f"{'/'.join(sorted(methods))} {getattr(route, 'path', route)}"


def _generality(route: BaseRoute) -> int:
    path = str(getattr(route, "path", "{"))
    return 2 if ":path}" in path or not isinstance(route, Route) else int("{" in path)
