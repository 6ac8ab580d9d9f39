"""The plugins of the server, told to a worker so that it finds the same ones."""

from __future__ import annotations

import importlib
import inspect
import logging
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from attrs import frozen

from mlsrv.plugins import Plugins, load_plugin_file

logger = logging.getLogger("mlsrv.workers")


@frozen
class GivenModule:
    """A plugin module that was given to the server; `file` if it was made of a file of its own."""

    name: str
    file: str | None = None

    def load(self) -> ModuleType:
        """The module, in this process, under the same name."""
        if self.file is not None:
            return load_plugin_file(Path(self.file), self.name)
        return importlib.import_module(self.name)


@frozen
class GivenPlugins:
    """How to make the plugins of a worker.

    Attributes:
        discover, block: as the server was started with.
        modules: the plugin modules that were given to the server; objects that are no modules stay there.
        elsewhere: whether the worker is in another environment, which may lack what a plugin imports.
    """

    discover: bool
    block: tuple[str, ...]
    modules: tuple[GivenModule, ...]
    elsewhere: bool = False

    @classmethod
    def of(cls, plugins: Plugins, *, elsewhere: bool = False) -> GivenPlugins:
        """The description of a server's plugins. In another environment (`elsewhere`) the installed ones are
        not found by themselves."""
        found = [row.plugin for row in plugins.rows if row.active] if elsewhere else plugins.given
        modules = [_described(plugin) for plugin in found if isinstance(plugin, ModuleType)]
        return cls(plugins.discovering, tuple(plugins.blocked), tuple(modules), elsewhere)

    @property
    def packages(self) -> set[str]:
        """Top-level packages of the modules that are not files of their own."""
        return {module.name.partition(".")[0] for module in self.modules if module.file is None}

    def load(self) -> Plugins:
        """The plugins, in this process. In another environment one that cannot be imported is left out, as an
        installed one is in the server."""
        extra = [plugin for module in self.modules if (plugin := self._load(module)) is not None]
        return Plugins(extra, discover=self.discover, block=self.block)

    def _load(self, module: GivenModule) -> ModuleType | None:
        try:
            return module.load()
        except Exception as error:
            if not self.elsewhere:
                raise
            logger.warning(
                "The plugin %s takes no part in the environment: %s: %s",
                module.name,
                type(error).__name__,
                error,
            )
            return None


def _described(plugin: ModuleType) -> GivenModule:
    """How to find a module again. One that the path does not lead to was made of its file."""
    name = plugin.__spec__.name if plugin.__spec__ is not None else plugin.__name__
    try:
        found = PathFinder.find_spec(name) if "." not in name else plugin.__spec__
    except ImportError:
        found = None
    file = None if found is not None else inspect.getsourcefile(plugin)
    return GivenModule(name, str(Path(file).absolute()) if file is not None else None)
