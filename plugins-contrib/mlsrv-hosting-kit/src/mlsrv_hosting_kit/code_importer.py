"""Code importer: imports the modules in a model's own folder, for that model alone.

Each load gets a private package whose path is the model's folder, so that two folders may both have a
``models.py``, and a reload sees new code. Inside it, ``import helper`` finds ``helper.py`` of the same folder
first, also when the import runs later, and artifacts that were pickled with ``helper.Thing`` find it too (see
`mlsrv_hosting_kit.pickle_aliases`). The standard library and mlsrv itself are never replaced.
"""

from __future__ import annotations

import builtins
import importlib
import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, NamespaceLoader, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mlsrv_hosting_kit import pickle_aliases, pickle_by_value
from mlsrv_hosting_kit.code_snapshot import CodeSnapshot, is_module_name
from mlsrv_hosting_kit.import_lock import PRIVATE
from mlsrv_hosting_kit.pickle_aliases import current_code

_numbers = itertools.count(1)
_NEVER_OURS = sys.stdlib_module_names | {
    "mlsrv",
    "mlsrv_hosting_kit",
    "mlsrv_protocol",
    "mlsrv_settings_kit",
    "mlsrv_telemetry_kit",
}


class CodeImporter:
    """The importable folder of one load of a model.

    Args:
        folder: where the modules are.
        name: the model's name.
        snapshot: its modules as they are to be imported; None reads the present ones.

    Attributes:
        names: the top-level modules and packages of the folder that its own code imports.
    """

    def __init__(self, folder: Path, name: str, snapshot: CodeSnapshot | None = None) -> None:
        self.folder = folder
        self._snapshot = snapshot
        self._all = _module_names(folder, snapshot)
        self.names = self._all - _NEVER_OURS
        self.package = f"{PRIVATE}{next(_numbers)}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"
        # `importlib.resources` asks the loader where the folder is.
        loader = NamespaceLoader(self.package, [str(folder)], lambda name, path: None)
        spec = ModuleSpec(self.package, loader, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        package = module_from_spec(spec)
        package.__doc__ = f"Code of the model {name}."
        sys.modules[self.package] = package
        self._importlib = _Importlib(self)
        self._finder = _Finder(self)
        sys.meta_path.insert(0, self._finder)

    @classmethod
    def of(cls, folder: Path | None, name: str, snapshot: CodeSnapshot | None = None) -> CodeImporter | None:
        """The code in the folder of a model, or None if the model has no folder, or that has no modules."""
        if folder is None or not _module_names(folder, snapshot):
            return None
        return cls(folder, name, snapshot)

    def has_module(self, path: Path) -> bool:
        """Return True if there is a module in a file."""
        return path.is_file() if self._snapshot is None else str(path) in self._snapshot

    def has_modules(self, folder: Path) -> bool:
        """Return True if there are modules in a folder."""
        if self._snapshot is None:
            return folder.is_dir() and any(folder.glob("*.py"))
        return any(Path(path).parent == folder for path in self._snapshot)

    def text_of(self, path: str) -> bytes | None:
        """Return the text of a module in the snapshot; None without one."""
        return None if self._snapshot is None else self._snapshot.get(path)

    def has(self, name: str) -> bool:
        """Return True if a dotted module name in the folder's own code starts in this folder."""
        return name.partition(".")[0] in self.names

    def implements(self, name: str) -> bool:
        """Return True if a dotted module name in the model's settings starts in this folder."""
        return name.partition(".")[0] in self._all

    def import_module(self, name: str) -> ModuleType:
        """Import a module of the folder by the name that its author knows."""
        return importlib.import_module(f"{self.package}.{name}")

    def modules(self) -> list[ModuleType]:
        """Every module of the folder that has been imported so far."""
        prefix = self.package + "."
        # A copy, as other threads import meanwhile; it is made in one step, unlike a list of the items.
        return [module for name, module in sys.modules.copy().items() if name.startswith(prefix)]

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Around the import and the loading of the model: what it unpickles may name modules of the
        folder."""
        token = current_code.set(self)
        pickle_aliases.publish(self)
        try:
            yield
        finally:
            pickle_aliases.withdraw(self)
            current_code.reset(token)
            pickle_by_value.register(self.modules())

    def located(self, error: BaseException) -> str:
        """An error in one line, with file and line where it happened in this folder."""
        text = f"{type(error).__name__}: {error}".replace(f"{self.package}.", "")
        if isinstance(error, SyntaxError):
            return text  # which says where it is
        where = ""
        trace = error.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if Path(file).is_relative_to(self.folder):
                where = f" ({file}, line {trace.tb_lineno})"
            trace = trace.tb_next
        return text + where

    def forget(self) -> None:
        """Remove the modules from the interpreter's tables. Idempotent."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        pickle_by_value.unregister(self.modules())
        for name in [
            name for name in list(sys.modules) if name == self.package or name.startswith(self.package + ".")
        ]:
            del sys.modules[name]
        pickle_aliases.clear(self)

    def import_name(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import for the ``import`` statements of the folder's modules, as their `builtins.__import__`."""
        if level == 0 and self.has(name):
            if isinstance(fromlist, list):
                # Not a statement but `PyImport_Import`: pickle, which then looks into sys.modules for the
                # module.
                return importlib.import_module(name)
            return self._import_own(name, fromlist or ())
        found = builtins.__import__(name, globals, locals, fromlist or (), level)
        if name.partition(".")[0] in pickle_by_value.IMPORTERS:
            pickle_by_value.register(self.modules())
        return self._importlib if found is importlib else found

    def _import_own(self, name: str, fromlist: Sequence[str]) -> ModuleType:
        module = self.import_module(name)
        if not fromlist:
            return sys.modules[f"{self.package}.{name.partition('.')[0]}"]
        if hasattr(module, "__path__"):
            wanted = getattr(module, "__all__", ()) if "*" in fromlist else fromlist
            for attribute in wanted:
                if not hasattr(module, attribute):
                    _import_if_there(f"{module.__name__}.{attribute}")
        return module


def _import_if_there(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, but misses something itself
            raise


def _module_names(folder: Path, snapshot: CodeSnapshot | None = None) -> frozenset[str]:
    if snapshot is not None:
        paths = [Path(path).relative_to(folder) for path in snapshot]
        found = {
            path.stem if len(path.parts) == 1 else path.parts[0] for path in paths if len(path.parts) < 3
        }
        return frozenset(name for name in found if is_module_name(name))
    names = set()
    for child in folder.iterdir() if folder.is_dir() else ():
        name = child.stem if child.suffix == ".py" else child.name
        if is_module_name(name) and _is_module(child):
            names.add(name)
    return frozenset(names)


def _is_module(path: Path) -> bool:
    return path.is_file() if path.suffix == ".py" else path.is_dir() and any(path.glob("*.py"))


class _Importlib(ModuleType):
    """``importlib`` as the folder's modules see it: `import_module` finds the modules of the folder first."""

    def __init__(self, code: CodeImporter) -> None:
        super().__init__("importlib", importlib.__doc__)
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib, name)

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """`importlib.import_module`."""
        if self._code.has(name):
            return self._code.import_module(name)
        return importlib.import_module(name, package)


class _Finder(MetaPathFinder):
    """Finds the modules of one folder: under their private names, and under those that pickles use."""

    def __init__(self, code: CodeImporter) -> None:
        self._code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.startswith(self._code.package + "."):
            return self._private_spec(fullname, path or ())
        return pickle_aliases.find_spec(fullname, self._code)

    def _private_spec(self, fullname: str, folders: Sequence[str]) -> ModuleSpec | None:
        # Looked up afresh: the interpreter's own finder remembers what a folder had.
        name = fullname.rpartition(".")[2]
        for folder in map(Path, folders):
            package = folder / name
            for file in (package / "__init__.py", folder / f"{name}.py"):
                if self._code.has_module(file):
                    return spec_from_file_location(
                        fullname, file, loader=_Loader(fullname, str(file), self._code)
                    )
            if self._code.has_modules(package):
                spec = ModuleSpec(fullname, None, is_package=True)
                spec.submodule_search_locations = [str(package)]
                return spec
        return PathFinder.find_spec(fullname, folders)  # extension modules


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, code: CodeImporter) -> None:
        super().__init__(fullname, path)
        self._code = code

    def __reduce__(self) -> tuple[type[SourceFileLoader], tuple[str, str]]:
        # In a process that gets the module by value (see `mlsrv_hosting_kit.pickle_by_value`).
        return SourceFileLoader, (self.name, str(self.path))

    def get_code(self, fullname: str) -> CodeType:
        """Always from the source: a cache may be older than an edit, and model folders are often
        read-only."""
        path = self.get_filename(fullname)
        text = self._code.text_of(path)
        return self.source_to_code(self.get_data(path) if text is None else text, path)

    def exec_module(self, module: ModuleType) -> None:
        # An import statement looks `__import__` up in the `__builtins__` of the module that executes it,
        # which is how `import helper` can mean another file for each model without touching sys.path or
        # sys.modules["helper"].
        module.__dict__["__builtins__"] = vars(builtins) | {"__import__": self._code.import_name}
        super().exec_module(module)
        pickle_by_value.register([module])
