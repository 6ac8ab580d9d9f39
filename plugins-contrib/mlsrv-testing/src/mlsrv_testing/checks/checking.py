"""Checking: runs a check of a plugin from beginning to end."""

from __future__ import annotations

from collections.abc import Container

from mlsrv.errors import MLSrvError
from mlsrv.plugins.discovery import PluginRow
from mlsrv.plugins.manager import Plugins
from mlsrv_testing.checks.findings import PREPARING, Findings, Listener, Progress
from mlsrv_testing.checks.report import Case, Report
from mlsrv_testing.checks.running import run_suites
from mlsrv_testing.checks.suites import Given, Trial, subjects


def check_plugin(row: PluginRow, plugins: Plugins, given: Given, progress: Progress | None = None) -> Report:
    """Run every suite that fits a plugin, in this process: code of the plugin that hangs hangs the check.

    Args:
        row: the plugin; one that did not load fails the check.
        plugins: the plugins that it is one of.
        given: samples and settings.
        progress: is told how it goes.

    Raises:
        ConfigurationError: something that is given cannot be used.
    """
    findings = Findings(progress)
    run_check(row, plugins, given, findings)
    return findings.report()


def run_check(
    row: PluginRow, plugins: Plugins, given: Given, listener: Listener, settled: Container[int] = ()
) -> None:
    """The same, for a listener.

    Args:
        row, plugins, given: as `check_plugin` has them.
        listener: is told everything.
        settled: the numbers of what an earlier check has tried already.

    Raises:
        ConfigurationError: something that is given cannot be used.
    """
    listener.plugin(row.name, row.distribution, row.version)
    if row.error is not None:
        listener.subject(0, f"plugin {row.name}")
        listener.prepared(0, "loading", "")
        listener.ended(0, Case("it loads", "failed", _told(row.error)))
        return
    listener.begins(-1, "its suites are found")
    suites: dict[int, type] = {}
    for number, subject in enumerate(subjects(row, plugins, given)):
        if number in settled:
            continue
        listener.subject(number, subject.label)
        listener.begins(number, PREPARING)
        try:
            trial = subject.prepare()
        except MLSrvError:
            raise
        except Exception as error:  # the plugin's code may raise anything
            trial = Trial()
            listener.ended(number, Case(PREPARING, "failed", _told(error)))
        listener.rests()
        listener.prepared(number, trial.source, trial.missing)
        if trial.suite is not None:
            suites[number] = trial.suite
    if suites:
        run_suites(suites, listener)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
