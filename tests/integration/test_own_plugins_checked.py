"""Our own plugins keep the contracts of what they offer, by the check that anybody can run."""

from __future__ import annotations

from typing import Any

import pytest

from mlsrv.plugins import Plugins
from mlsrv_testing.checks import Given, check_plugin

SETTINGS: dict[str, dict[str, Any]] = {
    "batching": {"max_batch_size": 4, "max_batch_time": 0.01},
    "cache": {"cache_enabled": True},
}


@pytest.mark.parametrize(
    ("name", "subject", "at_least"),
    [
        ("rest", "transport rest", 12),
        ("grpc", "transport grpc", 12),
        ("batching", "interceptor Batcher", 7),
        ("cache", "interceptor ResponseCache", 7),
        ("files", "repository", 10),
        ("numpy", "request codec np", 10),
        ("prometheus", "plugin prometheus", 5),
        ("text", "input codec datetime", 10),
        ("hex", "input codec hex", 10),
    ],
)
def test_a_plugin_keeps_its_contract(name: str, subject: str, at_least: int) -> None:
    plugins = Plugins()
    (row,) = [row for row in plugins.rows if row.name == name]
    report = check_plugin(row, plugins, Given(settings=SETTINGS.get(name, {})))
    assert [case for one in report.checked for case in one.cases if case.outcome == "failed"] == []
    (found,) = [one for one in report.checked if one.subject == subject]
    assert found.count("passed") >= at_least
