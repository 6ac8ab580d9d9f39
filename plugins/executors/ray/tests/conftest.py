"""Real Ray clusters on the loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, Any]]:
    """The address of a cluster of two nodes, and its process ids, for all tests of a session;
    ``MLSRV_TEST_RAY`` names another one, without them."""
    if "MLSRV_TEST_RAY" in os.environ:
        yield {"address": os.environ["MLSRV_TEST_RAY"], "pids": {}}
        return
    with _started() as found:
        yield found


@contextmanager
def _started() -> Iterator[dict[str, Any]]:
    # The server sets it for itself.
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("RAY_gcs_rpc")}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("loopback_cluster.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
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
