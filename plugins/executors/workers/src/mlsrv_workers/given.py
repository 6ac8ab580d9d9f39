"""The plugins of the server, told to a worker so that it finds the same ones."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

from attrs import frozen

from mlsrv.plugins import Plugins, load_plugin_file


@frozen
class GivenPlugins:
    """How to make the plugins of a worker.

    Attributes:
        discover, block: as the server was started with.
        modules: importable names of plugin modules, or paths of plugin files, that were given to the server; objects
            that are no modules stay there.
    """

    discover: bool
    block: tuple[str, ...]
    modules: tuple[str, ...]

    @classmethod
    def of(cls, plugins: Plugins) -> GivenPlugins:
        """The description of a server's plugins."""
        modules = []
        for plugin in plugins.given:
            if isinstance(plugin, ModuleType):
                spec = plugin.__spec__
                file = inspect.getsourcefile(plugin)
                if spec is not None and not spec.name.startswith("_mlsrv_plugin_"):
                    modules.append(spec.name)
                elif file is not None:
                    modules.append(str(Path(file).absolute()))
        return cls(plugins.discovering, tuple(plugins.blocked), tuple(modules))

    def load(self) -> Plugins:
        """The plugins, in this process."""
        extra = [
            load_plugin_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
            for name in self.modules
        ]
        return Plugins(extra, discover=self.discover, block=self.block)
