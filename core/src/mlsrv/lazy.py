"""Lazy exports: names that a module imports from elsewhere when they are first used."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["kit_exports", "lazy_exports", "moved_exports"]


def lazy_exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module-level ``__getattr__`` that imports each name from its home, once.

    Use it where importing a package must cost next to nothing, such as in a plugin's ``__init__``::

        __getattr__ = lazy_exports(__name__, {"ToyModel": "mlsrv_toy.runtime"})

    Args:
        package: the ``__name__`` of the module that exports the names.
        homes: the dotted name of the module that defines each name; a home that ends with the name itself,
            such as ``{"types": "mlsrv.types"}``, exports the module.

    Raises:
        AttributeError: (from the returned function) the name is not in `homes`.
    """

    def export(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(home)
        value = module if home.rpartition(".")[2] == name else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return export


def kit_exports(module: str, home: str, names: Collection[str] | None = None) -> Callable[[str], Any]:
    """Return a module-level ``__getattr__`` that takes names from a kit, a distribution that may be absent.

    Args:
        module: the ``__name__`` of the module that exports the names.
        home: the dotted name of the module in the kit.
        names: the names that are exported; without them, every public name of `home`, and its ``__all__``.

    Raises:
        AttributeError: (from the returned function) there is no such name.
        ModuleNotFoundError: (from the returned function) the kit is not installed.
    """

    def export(name: str) -> Any:
        if name not in names if names is not None else name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(_home_of(name, module, home), name)

    return export


def moved_exports(module: str, home: str) -> Callable[[str], Any]:
    """Return a module-level ``__getattr__`` as `kit_exports`, for a module whose names have moved to `home`.

    Each use of a name warns with a `DeprecationWarning` that says where the name is now.
    """
    take = kit_exports(module, home)

    def export(name: str) -> Any:
        value = take(name)
        warnings.warn(
            f"{module} has moved to {home}: import {name} from there", DeprecationWarning, stacklevel=2
        )
        return value

    return export


def _home_of(name: str, module: str, home: str) -> ModuleType:
    package = home.partition(".")[0]
    distribution = package.replace("_", "-")
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"{module}.{name} is part of {distribution}; install it: pip install {distribution}", name=package
        ) from error
    return import_module(home)
