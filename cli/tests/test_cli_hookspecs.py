"""The hook of the command line."""

from __future__ import annotations

import doctest

import mlsrv
from mlsrv.plugins import Plugins
from mlsrv_cli import hookspecs, plugin


def test_its_example_runs() -> None:
    result = doctest.testmod(hookspecs)
    assert result.attempted > 0
    assert result.failed == 0


def test_a_kernel_with_the_command_line_knows_the_hook() -> None:
    class Acme:
        @mlsrv.hookimpl
        def mlsrv_cli_commands(self, group: object) -> None:
            raise AssertionError("a kernel never calls it")

    plugins = Plugins([plugin, Acme()], discover=False)
    assert plugins.failed == []
