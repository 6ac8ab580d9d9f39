"""Pickling by value: functions of a model's folder in fresh processes that its code starts.

A fresh interpreter (joblib's default, dask) cannot import the private modules of a model. cloudpickle,
with which these libraries send functions, sends those of registered modules with their code, not by name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType

CLOUDPICKLES = ("cloudpickle", "joblib.externals.cloudpickle")
"""Names of the library: its own, and that of the copy which joblib before 1.6 brings."""
IMPORTERS = frozenset({"cloudpickle", "dask", "joblib"})
"""Packages that bring it into the process."""


def register(modules: Iterable[ModuleType]) -> None:
    """Have each cloudpickle that has been imported send what these modules define by value. Idempotent."""
    picklers = _picklers()
    for module in modules if picklers else ():
        for library in picklers:
            library.register_pickle_by_value(module)


def unregister(modules: Iterable[ModuleType]) -> None:
    """End `register`. Idempotent."""
    picklers = _picklers()
    for module in modules if picklers else ():
        for library in picklers:
            if module.__name__ in library.list_registry_pickle_by_value():
                library.unregister_pickle_by_value(module)


def _picklers() -> list[ModuleType]:
    found = [sys.modules[name] for name in CLOUDPICKLES if name in sys.modules]
    return [library for library in found if hasattr(library, "register_pickle_by_value")]
