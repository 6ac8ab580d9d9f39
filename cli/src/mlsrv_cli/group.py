"""Command group of click: imports a command when it is run."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import rich_click as click

from mlsrv_cli.commands import Command, CommandTable, own_commands
from mlsrv_cli.extensions import add_plugin_commands
from mlsrv_cli.failures import report
from mlsrv_cli.names import COMPLETION_VARIABLE
from mlsrv_cli.overview import overview_text
from mlsrv_cli.version import version_line


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name and return the exit code. Failures become lines on stderr."""
    table = own_commands()
    problems = add_plugin_commands(table)
    try:
        code = make_group(table, problems).main(
            list(arguments), prog_name="mlsrv", complete_var=COMPLETION_VARIABLE, standalone_mode=False
        )
    except Exception as error:
        # Read from the arguments themselves, because parsing the options may be what fails.
        return report(error, debug="--debug" in arguments)
    return code if isinstance(code, int) else 0


def make_group(table: CommandTable, problems: Sequence[str] = ()) -> click.RichGroup:
    """Return the group with the commands of a table; `problems` are shown in its help."""
    options = [
        click.RichOption(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_show_version
        ),
        click.RichOption(["--debug"], is_flag=True, expose_value=False),
    ]
    return _Group(
        table,
        problems,
        name="mlsrv",
        params=options,
        context_settings={"help_option_names": ["--help", "-h"]},
    )


class _Group(click.RichGroup):
    def __init__(self, table: CommandTable, problems: Sequence[str], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._table = table
        self._problems = problems

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [command.name for command in self._table]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = self._table.get(cmd_name)
        if command is not None:
            return _load(command)
        if not ctx.resilient_parsing:
            near = difflib.get_close_matches(cmd_name, self.list_commands(ctx), n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise click.UsageError(f'No such command "{cmd_name}".{hint}', ctx)
        return None

    def get_help(self, ctx: click.Context) -> str:
        return overview_text(self._table, self._problems).rstrip("\n")


def _load(command: Command) -> click.Command:
    module_name, _, attribute = command.target.partition(":")
    try:
        found = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise click.ClickException(
            f'The command "{command.name}" of {command.origin} cannot be loaded: {error}'
        ) from error
    if not isinstance(found, click.Command):
        raise click.ClickException(f'"{command.target}" of {command.origin} is not a click command.')
    return found


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        print(version_line())
        ctx.exit()
