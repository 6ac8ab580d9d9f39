"""Custom code of models: modules in a model's own folder, importable for that model and for no other.

Each load gets a private package whose path is the model's folder, so that two folders may both have a
``models.py``, and a reload sees new code. Inside it, ``import helper`` finds ``helper.py`` of the same folder
first.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import importlib.util
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from mlsrv.settings import ModelSettings

_numbers = itertools.count(1)


class CustomCode:
    """The importable folder of one load of a model."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.package = f"_mlsrv_model_{next(_numbers)}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"
        package = ModuleType(self.package, f"Code of the model {name}.")
        package.__path__ = [str(folder)]
        sys.modules[self.package] = package
        self._finder = _Finder(self)
        sys.meta_path.insert(0, self._finder)

    @classmethod
    def of(cls, model: ModelSettings, module_name: str) -> CustomCode | None:
        """The code of a model whose folder has the module (or package), else None."""
        folder = model.folder
        if folder is None or not has_module(folder, module_name.partition(".")[0]):
            return None
        return cls(folder, model.name)

    def import_module(self, name: str) -> ModuleType:
        """Import a module of the folder by the name that its author knows."""
        return importlib.import_module(f"{self.package}.{name}")

    def modules(self) -> list[ModuleType]:
        """Every module of the folder that has been imported so far."""
        prefix = self.package + "."
        return [module for name, module in list(sys.modules.items()) if name.startswith(prefix)]

    def owns(self, filename: str) -> bool:
        """Whether a source file belongs to this folder."""
        return Path(filename).is_relative_to(self.folder)

    def forget(self) -> None:
        """Remove the modules from the interpreter's tables. Idempotent."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        for name in [
            name for name in sys.modules if name == self.package or name.startswith(self.package + ".")
        ]:
            del sys.modules[name]

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level == 0 and top not in sys.stdlib_module_names and has_module(self.folder, top):
            leaf = importlib.import_module(f"{self.package}.{name}")
            if not fromlist:
                return sys.modules[f"{self.package}.{top}"]
            for attribute in fromlist:
                if attribute != "*" and not hasattr(leaf, attribute) and hasattr(leaf, "__path__"):
                    importlib.import_module(f"{leaf.__name__}.{attribute}")
            return leaf
        return builtins.__import__(name, globals, locals, fromlist or (), level)


def has_module(folder: Path, name: str) -> bool:
    """Whether a folder has a module or package of this name."""
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


class _Finder(MetaPathFinder):
    """Finds the modules below one private package and gives them a loader that keeps their imports
    private."""

    def __init__(self, code: CustomCode) -> None:
        self._code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(self._code.package + "."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path, self._code)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, code: CustomCode) -> None:
        super().__init__(fullname, path)
        self._code = code

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Nothing is written beside the author's files: model folders are often read-only."""

    def exec_module(self, module: ModuleType) -> None:
        # An import statement looks `__import__` up in the `__builtins__` of the module that executes it,
        # which is how `import helper` can mean another file for each model without touching sys.path or
        # sys.modules["helper"].
        module.__dict__["__builtins__"] = vars(builtins) | {"__import__": self._code._import}
        super().exec_module(module)
