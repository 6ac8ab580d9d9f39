"""Manifests for clusters: read, checked against the schemas of Kubernetes, and started as processes here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from workspace import ROOT

yaml = pytest.importorskip("yaml", reason="it is installed by: nox -s deploy")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="it is installed by: nox -s deploy")

DEPLOY = ROOT / "cli/deploy"
STARTING = 90
"""Seconds for a server to answer."""


def check(item: dict[str, Any], version: str = "1.34") -> None:
    """Check an object against the schema of its kind; unknown fields are errors, too."""
    kubernetes_validate.validate(item, version, strict=True)


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML text."""
    return [found for found in yaml.safe_load_all(text) if found]


def manifest(name: str) -> dict[str, Any]:
    """A manifest of the folder with manifests."""
    (found,) = documents((DEPLOY / name).read_text(encoding="utf-8"))
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def started(
    container: Mapping[str, Any],
    scratch: Path,
    folders: Mapping[str, str],
    variables: Mapping[str, str],
    placeholders: Mapping[str, str],
) -> Iterator[dict[str, int]]:
    """The server of a container as a process of this machine, once it is live.

    Args:
        container: of a manifest, with ``args`` and ``env``.
        scratch: gets the log, and stands for ``/tmp``.
        folders: what stands for other folders of the container.
        variables: those that a controller adds.
        placeholders: what a controller writes for texts such as ``{{.Name}}``.

    Yields:
        The ports in place of ``HTTP``, ``GRPC`` and ``METRICS``.
    """
    ports = {kind: free_port() for kind in ("HTTP", "GRPC", "METRICS")}
    own = {
        f"{prefix}_{kind}_PORT": str(port) for kind, port in ports.items() for prefix in ("MLSRV", "MLSERVER")
    }
    given = {entry["name"]: str(entry["value"]) for entry in container["env"]} | dict(variables)
    given = {name: own.get(name, value) for name, value in given.items()}

    def here(text: str) -> str:
        for placeholder, value in placeholders.items():
            text = text.replace(placeholder, value)
        for folder, real in {**folders, "/tmp": str(scratch)}.items():
            if text.startswith(folder):
                return text.replace(folder, real, 1)
        return text

    environment = {"PATH": os.environ["PATH"], **{name: here(value) for name, value in given.items()}}
    environment |= {"MLSRV_HOST": "127.0.0.1", "MLSRV_SHUTDOWN_DELAY": "0"}
    log = scratch / "server.log"
    command = [sys.executable, "-m", "mlsrv_cli", *(here(argument) for argument in container["args"])]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=scratch, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            wait_for(process, f"http://127.0.0.1:{ports['HTTP']}/v2/health/live", log)
            yield ports
            process.terminate()
            assert process.wait(40) == 0, log.read_text(errors="replace")
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until a server answers 200."""
    end = time.monotonic() + STARTING
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.1)
    pytest.fail(log.read_text(errors="replace"))
