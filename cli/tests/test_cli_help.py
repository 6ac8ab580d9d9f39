"""The overview, the version, and that nothing heavy is imported for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlsrv_cli.commands import CommandTable, own_commands
from mlsrv_cli.group import make_group
from mlsrv_cli.overview import overview

HEAVY = ("numpy", "starlette", "asyncio", "mlsrv_protocol", "rich", "click")
"""Not for the overview, not even where plugins add commands to it, which need hooks and settings."""


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["-h"], 0), ([], 2)])
def test_the_overview_names_every_command(mlsrv, arguments: list[str], code: int) -> None:
    done = mlsrv(*arguments)
    assert done.returncode == code
    assert done.stderr == ""
    assert "Usage: mlsrv [OPTIONS] COMMAND [ARGS]..." in done.stdout
    for command in own_commands():
        assert command.name in done.stdout
        assert command.help in done.stdout
    widths = {len(line) for line in done.stdout.splitlines() if line[:1] in "╭│╰" and line}
    assert widths == {80}


def test_the_overview_is_the_same_by_way_of_click(mlsrv) -> None:
    assert mlsrv("--debug", "--help").stdout.split() == mlsrv("--help").stdout.split()


def test_the_options_of_the_overview_are_those_that_there_are() -> None:
    group = make_group(own_commands())
    flags = {flag for param in group.params for flag in param.opts} | {"--help", "-h"}
    text = overview(own_commands())
    assert {word.strip(",") for word in text.split() if word.startswith("-")} == flags


@pytest.mark.parametrize("name", [command.name for command in own_commands()])
def test_every_command_has_help(mlsrv, name: str) -> None:
    done = mlsrv(name, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert f"Usage: mlsrv {name}" in done.stdout


def test_the_version(mlsrv) -> None:
    done = mlsrv("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("mlsrv 0.1.0 (mlsrv-core 0.1.0, Python 3.")
    assert mlsrv("--debug", "--version").stdout == done.stdout


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_nothing_heavy_is_imported(argument: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "mlsrv_cli", argument]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "mlsrv_cli" in imported
    assert imported.isdisjoint(HEAVY)


def test_colours_are_for_terminals(environment: dict[str, str], terminal_text) -> None:
    command = [sys.executable, "-m", "mlsrv_cli", "--help"]
    assert "\x1b[1m" in terminal_text(command, environment)
    assert "\x1b" not in terminal_text(command, environment | {"NO_COLOR": "1"})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "\x1b" not in done.stdout


def test_without_unicode_the_frame_is_drawn_in_ascii(mlsrv) -> None:
    text = mlsrv("--help", env={"PYTHONIOENCODING": "ascii"}).stdout
    assert text.isascii()
    assert "+- Commands -" in text


def test_a_name_that_is_taken_is_refused_as_a_whole() -> None:
    table = own_commands()
    before = list(table)
    added = CommandTable("acme")
    added.add("other", "acme:other", help="Other.")
    added.add("start", "acme:start", help="Start.")
    with pytest.raises(ValueError, match='"start" comes from both mlsrv-cli and acme'):
        table.extend(added)
    assert list(table) == before
