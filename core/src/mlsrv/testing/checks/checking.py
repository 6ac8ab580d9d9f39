"""A check from beginning to end."""

from __future__ import annotations

from mlsrv.discovery import PluginRow
from mlsrv.plugins import Plugins
from mlsrv.testing.checks.report import Case, Checked, Report
from mlsrv.testing.checks.running import Progress, run_suites
from mlsrv.testing.checks.suites import Given, subjects


def check_plugin(row: PluginRow, plugins: Plugins, given: Given, progress: Progress | None = None) -> Report:
    """Run every suite that fits a plugin.

    Args:
        row: the plugin; one that did not load fails the check.
        plugins: the plugins that it is one of.
        given: samples and settings.
        progress: is told how it goes.

    Raises:
        ConfigurationError: something that is given cannot be used.
    """
    if row.error is not None:
        reason = f"{type(row.error).__name__}: {row.error}"
        failed = Checked(f"plugin {row.name}", "loading", [Case("it loads", "failed", reason)])
        return Report(row.name, row.distribution, row.version, [failed])
    found = subjects(row, plugins, given)
    suites = {f"Test{number}": one.suite for number, one in enumerate(found) if one.suite is not None}
    cases = run_suites(suites, progress)
    checked = [
        Checked(one.label, one.source, cases.get(f"Test{number}", ()), one.missing)
        for number, one in enumerate(found)
    ]
    return Report(row.name, row.distribution, row.version, checked)
