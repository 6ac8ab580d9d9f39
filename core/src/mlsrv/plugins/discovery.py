"""Discovery: finds plugins in entry points of installed distributions, given objects and files."""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

from attrs import define, field

from mlsrv.errors import ConfigurationError, PluginError
from mlsrv.plugins.markers import PROJECT
from mlsrv.plugins.offers import Offer

_FILE_MODULE = "_mlsrv_plugin_"
"""Begins the names of modules that were made of plugin files; a number and the file's name follow."""

_numbers = itertools.count(1)


@define(eq=False)
class PluginRow:
    """One plugin, loaded or not.

    Attributes:
        name: its entry point's name, or the name of a plugin object's module or class.
        distribution: the distribution that it came in, or ``"(given)"`` for an object.
        version: the distribution's version; empty for an object.
        error: why it did not load, or None.
        blocked: whether it was skipped on request.
        offers: what it offers, once loaded.
        plugin: the object, or None when it did not load.
    """

    name: str
    distribution: str = "(given)"
    version: str = ""
    error: BaseException | None = None
    blocked: bool = False
    offers: list[Offer] = field(factory=list)
    plugin: object = field(default=None, repr=False)

    @property
    def active(self) -> bool:
        """True if it takes part."""
        return self.error is None and not self.blocked

    @property
    def label(self) -> str:
        """Its name and origin, for messages."""
        return f"{self.name} ({self.distribution} {self.version})" if self.version else self.name

    @property
    def origin(self) -> str:
        """Its distribution, or its name if it came without one."""
        return self.distribution if self.version else self.name


def installed_plugins(blocked: Collection[str]) -> Iterator[PluginRow]:
    """Yield the entry points of group ``mlsrv``. Blocked ones are not imported; one that fails to import says
    why."""
    for point in metadata.entry_points(group=PROJECT):
        dist = point.dist
        row = PluginRow(point.name, dist.name if dist else point.value, dist.version if dist else "0")
        if row.name in blocked or row.distribution in blocked:
            row.blocked = True
        else:
            try:
                row.plugin = point.load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever one plugin does, the others go on; its row tells
                row.error = error
        yield row


def given_plugins(plugins: Iterable[object]) -> Iterator[PluginRow]:
    """Yield given plugin objects, named after their module or class.

    Raises:
        PluginError: one of them is a class.
    """
    taken: set[str] = set()
    for plugin in plugins:
        if isinstance(plugin, type):
            raise PluginError(f"The plugin {plugin.__name__} is a class; pass an instance of it.")
        named = str(getattr(plugin, "__name__", None) or type(plugin).__name__)
        name = re.sub(rf"^{_FILE_MODULE}\d+_", "", named)
        if name in taken:
            name = next(numbered for n in itertools.count(2) if (numbered := f"{name}-{n}") not in taken)
        taken.add(name)
        yield PluginRow(name, plugin=plugin)


def load_plugin_file(path: Path, name: str | None = None) -> ModuleType:
    """Import a plugin from a Python file of its own. `name` is the module's; another process gives the one
    that the module has in the first.

    Raises:
        ConfigurationError: there is no such file, or it fails to import (the message has the line).
    """
    if not path.is_file():
        raise ConfigurationError(f"The plugin file {path} does not exist.")
    # Numbered, since two folders may have files of one name.
    name = name or f"{_FILE_MODULE}{next(_numbers)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"The plugin file {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise ConfigurationError(
            f"The plugin file {path} fails to import{_line(error, path)}: {type(error).__name__}: {error}"
        ) from error
    return module


def _line(error: BaseException, path: Path) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f" at line {lines[-1]}" if lines else ""
