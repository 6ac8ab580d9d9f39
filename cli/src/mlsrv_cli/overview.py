"""Command overview: printed by ``mlsrv --help``.

It is drawn here, in the style of rich-click, because to import rich-click and to draw with it takes half a
second. The help of each command comes from rich-click itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from mlsrv_cli.commands import CommandTable, own_commands
from mlsrv_cli.extensions import add_plugin_commands

_USAGE = "mlsrv [OPTIONS] COMMAND [ARGS]..."
_PURPOSE = "Serve machine-learning models over the Open Inference Protocol."
_HINT = "mlsrv COMMAND --help tells more about a command."
OPTIONS = (
    ("--version", "Show the version and exit."),
    ("--debug", "Show the traceback of a failure."),
    ("--help, -h", "Show this message and exit."),
)


def print_overview() -> None:
    """Print the overview of every command, in colour on a terminal."""
    table = own_commands()
    problems = add_plugin_commands(table)
    print(overview_text(table, problems), end="")


def overview_text(table: CommandTable, problems: Iterable[str] = ()) -> str:
    """Return the overview for the width and the colours of stdout."""
    terminal = sys.stdout.isatty()
    colour = terminal and not os.environ.get("NO_COLOR")
    width = min(os.get_terminal_size().columns, 100) if terminal else 80
    text = overview(table, problems, width=width, colour=colour)
    if "utf" not in (sys.stdout.encoding or "").lower():
        text = text.translate(str.maketrans("╭╮╰╯─│", "++++-|"))
    return text


def overview(
    table: CommandTable, problems: Iterable[str] = (), *, width: int = 80, colour: bool = False
) -> str:
    """Return the overview as text.

    Args:
        table: the commands.
        problems: sentences about plugins whose commands are missing.
        width: columns of the terminal.
        colour: whether terminal colours may be used.
    """
    bold, dim, end = ("\x1b[1m", "\x1b[2m", "\x1b[0m") if colour else ("", "", "")
    commands = [(command.name, command.help) for command in table]
    column = max(len(name) for name, _ in (*OPTIONS, *commands))

    def panel(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
        lines = [f"{dim}╭─ {title} {'─' * (width - len(title) - 5)}╮{end}"]
        room = max(width - 6 - column, 0)
        for name, purpose in rows:
            lines.append(f"{dim}│{end} {bold}{name:{column}}{end}  {purpose:{room}} {dim}│{end}")
        return [*lines, f"{dim}╰{'─' * (width - 2)}╯{end}"]

    lines = ["", f" {bold}Usage:{end} {_USAGE}", "", f" {_PURPOSE}", ""]
    lines += [*panel("Options", OPTIONS), *panel("Commands", commands)]
    lines += [f" {problem}" for problem in problems]
    lines += [f" {_HINT}", ""]
    return "\n".join(lines) + "\n"
