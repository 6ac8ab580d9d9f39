"""Kit: names of the distribution mlsrv-testing, imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any

KIT = "mlsrv_testing"


def kit_exports(module: str, names: Collection[str]) -> Callable[[str], Any]:
    """Return a module-level ``__getattr__`` that takes names from the module of the same name in the kit.

    Args:
        module: the ``__name__`` of the module here; its last part is the module in the kit.
        names: the names that it exports.

    Raises:
        AttributeError: (from the returned function) the name is not in `names`.
        ModuleNotFoundError: (from the returned function) the kit is not installed.
    """
    home = f"{KIT}.{module.rpartition('.')[2]}"

    def export(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        try:
            import_module(KIT)
        except ModuleNotFoundError as error:
            if error.name != KIT:
                raise
            raise ModuleNotFoundError(
                f"{module}.{name} is part of mlsrv-testing; install it: pip install mlsrv-testing", name=KIT
            ) from error
        return getattr(import_module(home), name)

    return export
