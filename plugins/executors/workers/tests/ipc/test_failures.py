"""Failures: descriptions of how a worker ended."""

import pytest

from mlsrv_workers.ipc.failures import describe_exit


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exit code 0"), (-9, "signal 9, SIGKILL"), (-99, "signal 99"), (None, "it closed its connection")],
)
def test_describe_exit(status: int | None, text: str) -> None:
    assert describe_exit(status) == text
