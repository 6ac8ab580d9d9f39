"""Pickle aliases: stand-ins in `sys.modules`, through which `pickle` finds modules in a model's folder.

An artifact that was pickled beside ``transformers.py`` names the class as ``transformers.Thing``, and
unpickling looks that up in `sys.modules`, where there is one place for all models. While a model with such a
module is loaded, a stand-in is there, which gives each caller what the name means for the model that the
caller is working for (see `current_code`); any other caller gets the ordinary module.
"""

from __future__ import annotations

import sys
import threading
from contextvars import ContextVar
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Protocol


class ImportableCode(Protocol):
    """The modules of one model, importable by the names that their author knows."""

    @property
    def names(self) -> frozenset[str]:
        """The top-level modules and packages."""

    def has(self, name: str) -> bool:
        """Return whether a dotted module name starts in one of them."""

    def import_module(self, name: str) -> ModuleType:
        """Import a module by the name that its author knows."""


current_code: ContextVar[ImportableCode | None] = ContextVar("mlsrv_custom_code", default=None)
"""The code of the model that is being loaded or that is answering."""

# One table for all kernels of the process, as `sys.modules` is.
_lock = threading.RLock()
_loading: dict[str, list[ImportableCode]] = {}


def publish(code: ImportableCode) -> None:
    """Make the names of a folder known for as long as its model is being loaded."""
    with _lock:
        for name in code.names:
            _loading.setdefault(name, []).append(code)
            there = sys.modules.get(name)
            if there is not None and not isinstance(there, _StandIn):
                sys.modules[name] = _StandIn(name, there)


def withdraw(code: ImportableCode) -> None:
    """End `publish`; the last one of a name leaves no trace of it."""
    with _lock:
        for name in code.names:
            _loading[name].remove(code)
            if not _loading[name]:
                del _loading[name]
                _remove(name)


def clear(code: ImportableCode) -> None:
    """Remove what a model left that unpickled something after it was loaded."""
    with _lock:
        for name in code.names - _loading.keys():
            _remove(name)


def find_spec(fullname: str, code: ImportableCode) -> ModuleSpec | None:
    """Return the spec of one of the shared names, or None unless it means `code` for the caller."""
    if not code.has(fullname):
        return None
    there = sys.modules.get(fullname.partition(".")[0])
    real = there.real if isinstance(there, _StandIn) else there
    return ModuleSpec(fullname, _StandInLoader(code)) if _owner(fullname, real) is code else None


def _remove(name: str) -> None:
    for found in [found for found in list(sys.modules) if found == name or found.startswith(name + ".")]:
        stand_in = sys.modules[found]
        if isinstance(stand_in, _StandIn):
            if stand_in.real is None:
                del sys.modules[found]
            else:
                sys.modules[found] = stand_in.real


def _owner(name: str, real: ModuleType | None = None) -> ImportableCode | None:
    """The code whose module a name means for the caller, instead of `real`."""
    code = current_code.get()
    if code is not None:
        return code if code.has(name) else None
    # A thread that the model's code has started knows of no model; if one alone is being loaded, it is that.
    loading = _loading.get(name.partition(".")[0], [])
    return loading[0] if len(loading) == 1 and real is None else None


class _StandIn(ModuleType):
    real: ModuleType | None

    def __init__(self, name: str, real: ModuleType | None) -> None:
        super().__init__(name)
        vars(self).update(real=real)
        for attribute in ("__doc__", "__loader__", "__package__", "__spec__"):
            del vars(self)[attribute]

    def __getattr__(self, attribute: str) -> Any:
        code = _owner(self.__name__, self.real)
        if code is not None:
            return getattr(code.import_module(self.__name__), attribute)
        if self.real is not None:
            return getattr(self.real, attribute)
        raise AttributeError(f"module {self.__name__!r} belongs to the folder of a model", name=attribute)

    def __setattr__(self, attribute: str, value: Any) -> None:
        if self.real is not None and _owner(self.__name__, self.real) is None:
            setattr(self.real, attribute, value)
        else:
            super().__setattr__(attribute, value)


class _StandInLoader(Loader):
    def __init__(self, code: ImportableCode) -> None:
        self._code = code

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self._code.import_module(spec.name)  # raises now, rather than at the first attribute
        return _StandIn(spec.name, None)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: a stand-in has no content of its own."""
