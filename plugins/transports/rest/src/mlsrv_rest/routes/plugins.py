"""The routes of other plugins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from starlette.routing import BaseRoute, Route

from mlsrv.errors import ConfigurationError
from mlsrv.kernel import Kernel

_HOOK = "mlsrv_rest_routes"


def all_routes(kernel: Kernel, own: list[Route]) -> list[BaseRoute]:
    """The protocol's own routes and those that plugins bring. Paths without parameters come first, whoever
    they belong to, and paths that swallow everything last.

    Raises:
        ConfigurationError: two of them have the same path and method, or a plugin returned something else.
    """
    found: list[tuple[str, BaseRoute]] = [("mlsrv-rest", route) for route in own]
    for label, route in _brought(kernel):
        if not isinstance(route, BaseRoute):
            raise ConfigurationError(
                f"The plugin {label} returned a {type(route).__name__} for {_HOOK}, not a route."
            )
        for other, known in found:
            if _clash(known, route):
                raise ConfigurationError(
                    f"The route {_shown(route)} comes from both {other} and {label}; block one of them."
                )
        found.append((label, route))
    return sorted((route for _, route in found), key=_generality)


def _brought(kernel: Kernel) -> Iterator[tuple[str, object]]:
    # An application may be mounted without the plugin being loaded; then nobody can bring routes.
    if not hasattr(kernel.plugins.manager.hook, _HOOK):
        return
    for label, result in kernel.plugins.each(_HOOK, kernel=kernel):
        for route in result if isinstance(result, Iterable) else (result,):
            yield label, route


def _clash(one: BaseRoute, other: BaseRoute) -> bool:
    if not isinstance(one, Route) or not isinstance(other, Route) or _bare(one) != _bare(other):
        return False
    return one.methods is None or other.methods is None or not one.methods.isdisjoint(other.methods)


def _bare(route: Route) -> str:
    return re.sub(r"{[^}]*}", "{}", route.path)


def _shown(route: BaseRoute) -> str:
    methods = getattr(route, "methods", None) or {"*"}
    return f"{'/'.join(sorted(methods))} {getattr(route, 'path', route)}"


def _generality(route: BaseRoute) -> int:
    path = str(getattr(route, "path", "{"))
    return 2 if ":path}" in path or not isinstance(route, Route) else int("{" in path)
