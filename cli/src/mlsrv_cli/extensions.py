"""Command discovery: commands that plugins add, found without importing the plugins that add none.

Entry points are read from their files: to import importlib.metadata takes three times as long as the whole of
``mlsrv --help`` otherwise does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder

from mlsrv_cli.commands import CommandTable

GROUP = "mlsrv"
HOOK = "mlsrv_cli_commands"


def add_plugin_commands(table: CommandTable, path: Iterable[str] | None = None) -> list[str]:
    """Let every installed plugin add its commands to `table`.

    Args:
        table: gets the commands.
        path: folders in which distributions are installed; ``sys.path`` by default.

    Returns:
        One sentence for each plugin that could not; the others are not affected.
    """
    problems = []
    for name, value in sorted(entry_points(sys.path if path is None else path)):
        module_name = value.partition(":")[0].strip()
        if not _mentions_hook(module_name):
            continue
        try:
            added = CommandTable(name)
            _ask(name, value, added)
            table.extend(added)
        except Exception as error:  # a plugin may raise anything; it must not take the command line with it
            reason = f"{type(error).__name__}: {error}"
            problems.append(f'The commands of the plugin "{name}" are missing: {reason}')
    return problems


def entry_points(path: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield names and values of the entry points of the group ``mlsrv`` of every distribution in these
    folders."""
    seen = set()
    for folder in path:
        try:
            installed = [name for name in os.listdir(folder or ".") if name.endswith(".dist-info")]
        except OSError:  # sys.path may name a missing folder
            continue
        for name in installed:
            if name not in seen:  # the first folder of sys.path that has a distribution wins
                seen.add(name)
                yield from _section(os.path.join(folder, name, "entry_points.txt"))


def _section(file: str) -> Iterator[tuple[str, str]]:
    try:
        with open(file, encoding="utf-8") as lines:
            section = ""
            for line in map(str.strip, lines):
                if line.startswith("["):
                    section = line.strip("[]")
                elif section == GROUP and "=" in line and not line.startswith("#"):
                    name, _, value = line.partition("=")
                    yield name.strip(), value.strip()
    except FileNotFoundError:
        return


def _mentions_hook(module_name: str) -> bool:
    """Return whether the source of a module contains the name of the hook; True if there is no source."""
    path = None
    found = None
    parts = module_name.split(".")
    for end in range(1, len(parts) + 1):
        found = PathFinder.find_spec(".".join(parts[:end]), path)
        if found is None:
            return True
        path = found.submodule_search_locations
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        return True
    with open(found.origin, "rb") as source:
        return HOOK.encode() in source.read()


def _ask(name: str, value: str, table: CommandTable) -> None:
    from importlib.metadata import EntryPoint

    import pluggy

    from mlsrv_cli import hookspecs

    # A manager for each plugin: pluggy's loses the results of all when one raises.
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(EntryPoint(name, value, GROUP).load(), name)
    getattr(manager.hook, HOOK)(group=table)
