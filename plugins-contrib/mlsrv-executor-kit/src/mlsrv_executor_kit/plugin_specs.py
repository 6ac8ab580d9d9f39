"""Plugin specs: the plugins of the server, described so that another process can load the same ones."""

from __future__ import annotations

import importlib
import inspect
import logging
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from attrs import frozen

from mlsrv.kernel_api import PluginSet
from mlsrv.plugins import Plugins, load_plugin_file

__all__ = [
    "PluginModuleSpec",
    "PluginSpecs",
]


logger = logging.getLogger("mlsrv.plugins")


@frozen
class PluginModuleSpec:
    """A plugin module that was given to the server.

    Attributes:
        name: its import name.
        file: its source file, if it was loaded from a file outside the import path.
        packages: further top-level packages of its distribution that models import, from its attribute
            `MODEL_PACKAGES`.
    """

    name: str
    file: str | None = None
    packages: tuple[str, ...] = ()

    def load(self) -> ModuleType:
        """Import the module in this process, under the same name."""
        if self.file is not None:
            return load_plugin_file(Path(self.file), self.name)
        return importlib.import_module(self.name)


@frozen
class PluginSpecs:
    """Description of the plugins that another process loads.

    Attributes:
        discover: as in the server.
        block: as in the server.
        modules: the plugin modules that were given to the server, without plugin objects of other types.
        in_environment: True in a model's environment, which may lack packages that a plugin imports.
    """

    discover: bool
    block: tuple[str, ...]
    modules: tuple[PluginModuleSpec, ...]
    in_environment: bool = False

    @classmethod
    def of(cls, plugins: PluginSet, *, in_environment: bool = False) -> PluginSpecs:
        """Return the specs of a server's plugins.

        For a model's environment they include the installed plugins, which cannot be discovered there.
        """
        found = plugins.active if in_environment else plugins.given
        modules = [_spec_of(plugin) for plugin in found if isinstance(plugin, ModuleType)]
        return cls(plugins.discovering, tuple(plugins.blocked), tuple(modules), in_environment)

    @property
    def packages(self) -> set[str]:
        """Top-level packages of the modules that are not single files, and those that models import."""
        modules = [module for module in self.modules if module.file is None]
        return {name for module in modules for name in (module.name.partition(".")[0], *module.packages)}

    def load(self) -> Plugins:
        """Load the plugins in this process.

        In a model's environment a plugin that cannot be imported is left out, as the server leaves out a
        broken installed one.
        """
        extra = [plugin for module in self.modules if (plugin := self._load(module)) is not None]
        return Plugins(extra, discover=self.discover, block=self.block)

    def _load(self, module: PluginModuleSpec) -> ModuleType | None:
        try:
            return module.load()
        except Exception as error:
            if not self.in_environment:
                raise
            logger.warning(
                "The plugin %s is left out in the environment: %s: %s",
                module.name,
                type(error).__name__,
                error,
            )
            return None


def _spec_of(plugin: ModuleType) -> PluginModuleSpec:
    """Return the spec of a module. One that the import path does not find was loaded from its file."""
    name = plugin.__spec__.name if plugin.__spec__ is not None else plugin.__name__
    try:
        found = PathFinder.find_spec(name) if "." not in name else plugin.__spec__
    except ImportError:
        found = None
    file = None if found is not None else inspect.getsourcefile(plugin)
    packages = tuple(getattr(plugin, "MODEL_PACKAGES", ()))
    return PluginModuleSpec(name, str(Path(file).absolute()) if file is not None else None, packages)
