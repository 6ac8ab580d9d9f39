"""A real Ray cluster of two nodes on the loopback, for all tests of a session."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

START_SECONDS = 180


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, Any]]:
    """The address of a cluster, and its process ids; ``MLSRV_TEST_RAY`` names another one, without them."""
    if "MLSRV_TEST_RAY" in os.environ:
        yield {"address": os.environ["MLSRV_TEST_RAY"], "pids": {}}
        return
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("two_nodes.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    found: dict[str, Any] = {"pids": {}}
    try:
        for line in process.stdout:
            if line.startswith("{"):
                found = json.loads(line)
                break
        assert "address" in found, "the cluster did not start"
        yield found
    finally:
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        for pid in (pid for pids in found["pids"].values() for pid in pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
