"""Servers of this environment, and programs that run in the environments of clients that others wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workspace import ROOT

HERE = Path(__file__).parent
PROTOCOL = ROOT / "protocol/src"

Guest = Callable[..., None]


@pytest.fixture(scope="session")
def guest() -> Guest:
    """Runs a program of a client to its good end: ``guest("tritonclient", "calls.py", "argument")``."""

    def run(client: str, program: str, *arguments: str) -> None:
        if "MLSRV_TEST_CLIENTS" not in os.environ:
            pytest.skip("the environments of clients are made by: nox -s clients")
        python = Path(os.environ["MLSRV_TEST_CLIENTS"], client, "bin/python")
        done = subprocess.run(
            [str(python), str(HERE / client / program), *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROTOCOL)},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """A server in a process of its own: where each of its transports listens, by name, as host:port. A module
    may name the ``MODELS`` that it wants."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "serve.py"), *getattr(request.module, "MODELS", [])],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "\n")
            yield dict(line.split() for line in lines if line)
        finally:
            process.terminate()
            process.wait(20)
