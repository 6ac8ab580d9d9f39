"""Options that are made from the settings of the plugins."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_help_has_an_option_for_each_setting_of_the_kernel_and_of_plugins(mlsrv, tiny: Path) -> None:
    done = mlsrv("start", "--help", "--plugin", tiny, "--block", "rest", env={"COLUMNS": "200"})
    assert done.returncode == 0
    assert done.stderr == ""
    for text in (
        "--max-in-flight INTEGER",
        "--on-load-failure serve|exit",
        "--debug/--no-debug",
        "[default: 1000]",
    ):
        assert text in done.stdout
    for text in (
        "Settings of tiny",
        "--tiny-port INTEGER",
        "Port of the tiny transport.",
        "--tiny-loud/--no-tiny-loud",
    ):
        assert text in done.stdout
    for text in ("--plugin FILE", "--block NAME", "--set KEY=VALUE", "--log-format text|json", "--log-level"):
        assert text in done.stdout
    assert "--tiny-tags" not in done.stdout  # lists are for --set
    assert "--http-port" not in done.stdout  # its plugin is blocked


def test_values_of_every_kind(mlsrv, tiny: Path, folder: Path) -> None:
    options = [
        "--tiny-port=5",
        "--tiny-loud",
        "--set",
        'tiny_tags=["a", "b"]',
        "--shutdown-timeout",
        "2.5",
        "--no-debug",
    ]
    done = mlsrv("config", "show", folder, "--plugin", tiny, *options, env={"MLSRV_DEBUG": "true"})
    assert done.returncode == 0
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.stdout.splitlines()[1:]}
    assert shown["tiny_port"].split() == ["5", "command", "line"]
    assert shown["tiny_loud"].split()[0] == "true"
    assert shown["tiny_tags"].startswith('["a", "b"]')
    assert shown["shutdown_timeout"].split()[0] == "2.5"
    assert shown["debug"].split() == ["false", "command", "line"]


def test_a_setting_that_is_given_twice(mlsrv, tiny: Path, folder: Path) -> None:
    done = mlsrv("start", folder, "--plugin", tiny, "--tiny-port", "5", "--set", "tiny_port=6")
    assert done.returncode == 2
    assert done.stderr == "Error: tiny_port is given twice, by --set and by its own option\n"


def test_an_option_of_a_plugin_that_is_not_installed_names_it(mlsrv, folder: Path) -> None:
    done = mlsrv("start", folder, "--tracing-server", "localhost:4317", "--block", "opentelemetry")
    assert done.returncode == 2
    assert "No such option --tracing-server" in done.stderr
    assert "mlsrv-opentelemetry" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_key_of_a_plugin_that_is_not_installed_names_it(mlsrv, folder: Path) -> None:
    done = mlsrv(
        "config",
        "check",
        folder,
        "--set",
        "tracing_server=x",
        "--block",
        "opentelemetry",
        "--block",
        "mlserver",
    )
    assert done.returncode == 2
    assert "mlsrv-opentelemetry" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start"], "Missing argument 'PATH'"),
        (["start", ".", "--max-in-flihgt", "3"], "--max-in-flight"),
        (["start", ".", "--set", "nonsense"], '--set nonsense: expected "key=value"'),
        (["start", ".", "--log-format", "xml"], "xml"),
        (["start", ".", "extra"], "extra"),
        (["strat"], 'Did you mean "start"?'),
        (["config", "shwo", "."], "shwo"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(mlsrv, arguments: list[str], message: str) -> None:
    done = mlsrv(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
