"""An image of a folder of models: built by Buildah on a base of Debian, started, and asked."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from brokers import free_ports
from workspace import ROOT

BASE, IMAGE = "localhost/python:test", "localhost/iris:test"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
STARTING = 120
FLOWER = {"name": "flower", "shape": [1, 4], "datatype": "FP64", "data": [6.7, 3.0, 5.2, 2.3]}

pytestmark = pytest.mark.timeout(1500)
"""The first test waits for Debian's packages and the layers of the image."""


def run(*command: str) -> str:
    """Run a program to its good end, and return what it printed."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder for images, which ends with the tests."""
    home = tmp_path_factory.mktemp("storage")
    file = home / "storage.conf"
    file.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{home}/images"\nrunroot = "{home}/run"\n',
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(file))
        patch.setenv("BUILDAH_ISOLATION", "chroot")
        yield
        run("buildah", "rmi", "--all", "--force")


@pytest.fixture(scope="module")
def base(storage: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with Python and pip, as the usual one has them."""
    archive = tmp_path_factory.mktemp("base") / "debian.tar"
    run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(archive))
    container = run("buildah", "from", "scratch")
    run("buildah", "add", "--quiet", container, str(archive), "/")
    # Debian's pip installs nothing beside the packages of the system, unlike that of the usual image.
    run("buildah", "run", container, "--", "sh", "-c", "rm /usr/lib/python3*/EXTERNALLY-MANAGED")
    if Path(AUTHORITIES).exists():
        run("buildah", "copy", "--quiet", container, AUTHORITIES, AUTHORITIES)
    variables = {"SSL_CERT_FILE": AUTHORITIES, "PIP_CERT": AUTHORITIES}
    given = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
    run("buildah", "config", *given, "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
    run("buildah", "commit", "--quiet", "--rm", container, BASE)
    return BASE


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the wheels of this repository."""
    folder = str(tmp_path_factory.mktemp("wheels"))
    run(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--all-packages", "--out-dir", folder)
    return folder


@pytest.fixture(scope="module")
def container(base: str, wheels: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A container of the image that `mlsrv build` makes of the first example; nothing runs in it."""
    folder = tmp_path_factory.mktemp("example") / "iris"
    shutil.copytree(ROOT / "tests/examples/iris", folder)
    (folder / ".env").write_text("SECRET=1\n", encoding="utf-8")
    given = ["--tag", IMAGE, "--base", base, "--builder", "buildah", "--wheels", wheels]
    run(sys.executable, "-m", "mlsrv_cli", "build", str(folder), *given)
    name = run("buildah", "from", "--pull-never", IMAGE)
    yield name
    run("buildah", "rm", name)


def test_it_answers_the_request_of_the_readme_and_stops_at_sigterm(container: str, tmp_path: Path) -> None:
    config = json.loads(run("buildah", "inspect", container))["OCIv1"]["config"]
    ports = dict(zip(("http", "grpc", "metrics"), map(str, free_ports(3)), strict=True))
    options = [part for name, port in ports.items() for part in (f"--{name}-port", port)]
    command = [*config["Entrypoint"], *config["Cmd"], "--host", "127.0.0.1", *options]
    log = tmp_path / "log"
    with running(container, command, log) as process:
        answer = asked(f"http://127.0.0.1:{ports['http']}/v2/models/iris/infer", process, log)
        server = server_of(process, ports["http"])
        users = {one.uids().real for one in (server, *server.children(recursive=True))}
        server.send_signal(getattr(signal, config["StopSignal"]))
        code = process.wait(30)
    assert answer["outputs"][0]["data"] == [2]
    assert users == {1000}
    assert code == 0, log.read_text(errors="replace")


def test_what_the_image_leaves_out(container: str) -> None:
    found = run("buildah", "run", container, "--", "ls", "-A", "/mnt/models").split()
    assert "model-settings.json" in found
    assert not {".env", "Dockerfile", ".dockerignore"}.intersection(found)


@contextmanager
def running(container: str, command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a container; what is left of it when the block ends is killed."""
    given = ["buildah", "run", container, "--", *command]
    with log.open("wb") as output, subprocess.Popen(given, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for one in psutil.Process(process.pid).children(recursive=True):
                    one.kill()


def server_of(process: subprocess.Popen[bytes], port: str) -> psutil.Process:
    """The process of the server, below those of Buildah, which have its options, too."""
    (found,) = [
        one
        for one in psutil.Process(process.pid).children(recursive=True)
        if port in one.cmdline() and "python" in one.name() + one.cmdline()[0]
    ]
    return found


def asked(url: str, process: subprocess.Popen[bytes], log: Path) -> Any:
    """The answer to the request, once the model is ready."""
    body = json.dumps({"id": "1", "inputs": [FLOWER]}).encode()
    end = time.monotonic() + STARTING
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, body, timeout=30) as response:
                return json.load(response)
        except urllib.error.URLError:  # nothing listens yet, or the model is not ready
            time.sleep(0.5)
    raise AssertionError(log.read_text(errors="replace"))
