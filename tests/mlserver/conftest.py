"""Servers in processes of their own: MLServer in its environment, and mlsrv in this one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlserver_folders import ask

STARTING = 90
"""Seconds for a server to be ready."""


@pytest.fixture(scope="session")
def mlserver_home() -> Path:
    """The environment of MLServer."""
    if "MLSRV_TEST_MLSERVER" not in os.environ:
        pytest.skip("the environment of MLServer is made by: nox -s mlserver")
    return Path(os.environ["MLSRV_TEST_MLSERVER"])


@contextmanager
def server(command: list[str], prefix: str, folder: Path, **more: str) -> Iterator[dict[str, str]]:
    """A server of a folder: where it listens, as ``http``, ``grpc`` and ``metrics``."""
    ports = {name: free_port() for name in ("http", "grpc", "metrics")}
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        f"{prefix}HOST": "127.0.0.1",
        **{f"{prefix}{name.upper()}_PORT": str(port) for name, port in ports.items()},
        **more,
    }
    log = folder.parent / f"{folder.name}-{prefix.lower()}log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*command, "start", "."], cwd=folder, env=environment, stdout=output, stderr=output
        ) as process,
    ):
        try:
            where = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
            wait_ready(process, f"http://{where['http']}", log)
            yield where
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until a server answers that it is ready."""
    end = time.monotonic() + STARTING
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            if ask(url, "/v2/health/ready", method="GET")[0] == 200:
                return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.2)
    pytest.fail(log.read_text(errors="replace"))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def serve_mlserver(mlserver_home: Path) -> Callable[..., Any]:
    """Serves a folder with MLServer: ``with serve_mlserver(folder) as where``."""
    return partial(server, [str(mlserver_home / "bin/mlserver")], "MLSERVER_")


@pytest.fixture(scope="session")
def serve_mlsrv() -> Callable[..., Any]:
    """Serves a folder with mlsrv, as `serve_mlserver`."""
    return partial(server, [str(Path(sys.executable).with_name("mlsrv"))], "MLSRV_")
