"""Command table: the name of each command, one line of help, and the module that defines it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        name: what the user types after ``mlsrv``.
        target: the click command as ``"package.module:attribute"``, imported when the command is run.
        help: one line for the overview.
        origin: the plugin that it comes from.
    """

    name: str
    target: str
    help: str
    origin: str = "mlsrv-cli"


class CommandTable:
    """Commands by name. A plugin gets the table as the argument of ``mlsrv_cli_commands`` and adds its own.

    Attributes:
        origin: the plugin that adds commands now, for messages.
    """

    def __init__(self, origin: str = "mlsrv-cli") -> None:
        self.origin = origin
        self._commands: dict[str, Command] = {}

    def add(self, name: str, target: str, *, help: str) -> None:
        """Add a command.

        Args:
            name: what the user types after ``mlsrv``.
            target: a click (or rich-click) command as ``"package.module:attribute"``; it is imported only
                when the command is run or asked for help.
            help: one line for the overview.

        Raises:
            ValueError: the name is taken, or the target is not of that form.
        """
        if not all(target.partition(":")):
            raise ValueError(f'the target {target!r} of "{name}" must read "package.module:attribute"')
        self.extend([Command(name, target, help, self.origin)])

    def extend(self, commands: Iterable[Command]) -> None:
        """Add several commands, or none of them if one of their names is taken.

        Raises:
            ValueError: a name is taken; both sides are named.
        """
        commands = list(commands)
        for command in commands:
            if command.name in self._commands:
                first = self._commands[command.name].origin
                raise ValueError(f'the command "{command.name}" comes from both {first} and {command.origin}')
        self._commands.update({command.name: command for command in commands})

    def get(self, name: str) -> Command | None:
        """Return the command of this name, or None."""
        return self._commands.get(name)

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands.values())


def own_commands() -> CommandTable:
    """Return the commands of mlsrv-cli itself."""
    table = CommandTable()
    table.add("start", "mlsrv_cli.start:start", help="Serve a model, or a folder of models.")
    table.add("plugins", "mlsrv_cli.plugins_command:plugins", help="List the plugins, or check one.")
    table.add("config", "mlsrv_cli.config_command:config", help="Show or check settings, without starting.")
    table.add("models", "mlsrv_cli.models_command:models", help="Control the models of a running server.")
    table.add("infer", "mlsrv_cli.infer.command:infer", help="Send what files hold to a model.")
    table.add("init", "mlsrv_cli.init_command:init", help="Make a folder for a new model or plugin.")
    table.add(
        "top", "mlsrv_cli.top.command:top", help="Watch a running server: requests, latencies, workers."
    )
    table.add("dockerfile", "mlsrv_cli.image.command:dockerfile", help="Print a Dockerfile for a folder.")
    table.add("build", "mlsrv_cli.image.command:build", help="Build a container image of a folder.")
    table.add("export", "mlsrv_cli.export.command:export", help="Print manifests for the image of a folder.")
    table.add("completion", "mlsrv_cli.completion:completion", help="Print the completion script of a shell.")
    return table
