"""Command line fixtures: processes whose only transport is a tiny one."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlsrv.testing.fixtures import free_port

TINY_TRANSPORT = '''
import asyncio
import json
import os

import mlsrv
from mlsrv.errors import ConfigurationError
from mlsrv.settings import setting, settings_class
from mlsrv.transport import Transport


@settings_class
class TinySettings:
    tiny_port: int = setting(0, help="Port of the tiny transport.")
    tiny_loud: bool = setting(False, help="Whether it shouts.")
    tiny_tags: list[str] = setting(factory=list, help="Tags.")


class Tiny(Transport):
    """Answers each line with the problems of the server."""

    _server = None

    async def start(self):
        port = self.kernel.settings.of(TinySettings).tiny_port
        try:
            self._server = await asyncio.start_server(self._answer, "127.0.0.1", port)
        except OSError as error:
            reason = os.strerror(error.errno)
            raise ConfigurationError(f"127.0.0.1:{port} cannot be used: {reason}.") from error

    async def stop(self, grace):
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader, writer):
        await reader.readline()
        writer.write(json.dumps(self.kernel.problems()).encode())
        writer.close()

    @property
    def endpoints(self):
        return [f"tiny://127.0.0.1:{socket.getsockname()[1]}" for socket in self._server.sockets]


@mlsrv.hookimpl
def mlsrv_settings():
    return mlsrv.SettingsOffer("server", TinySettings)


@mlsrv.hookimpl
def mlsrv_transports():
    return mlsrv.TransportOffer("tiny", Tiny)
'''

OTHERS = ("rest", "grpc", "kafka", "mlserver", "prometheus", "workers")
"""Installed plugins that would open something of their own, or take what others refuse."""

LIMIT = 60.0


class Server:
    """A running ``mlsrv start``, whose lines can be waited for."""

    def __init__(self, command: list[str], environment: Mapping[str, str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            command, env=dict(environment), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self.errors = ""
        self._news = threading.Condition()
        self._ended = False
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, text: str) -> str:
        """Return the first line that contains `text`."""

        def there() -> bool:
            return self._ended or any(text in line for line in self.lines)

        with self._news:
            assert self._news.wait_for(there, LIMIT), f"{text!r} did not come; there is {self.lines}"
        found = [line for line in self.lines if text in line]
        assert found, f"the server ended without {text!r}: {self.lines} {self.errors}"
        return found[0]

    def ask(self) -> Any:
        """Return the answer of the tiny transport."""
        address = self.wait_for("tiny://").rpartition("tiny://127.0.0.1:")[2]
        with socket.create_connection(("127.0.0.1", int(address.split('"')[0])), timeout=LIMIT) as connection:
            connection.sendall(b"?\n")
            return json.loads(connection.makefile().read())

    @property
    def port(self) -> int:
        return int(self.wait_for("tiny://").rpartition(":")[2].rstrip('"}'))

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once the process has ended and everything that it wrote is here."""
        code = self.process.wait(LIMIT)
        for thread in self._threads:
            thread.join(LIMIT)
        return code

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.send(number)
        return self.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Have processes take SIGINT also when the tests run in the background of a shell, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A file with a plugin that has a transport and settings."""
    file = tmp_path / "tiny.py"
    file.write_text(TINY_TRANSPORT)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for models."""
    made = tmp_path / "models"
    made.mkdir()
    return made


@pytest.fixture
def add_model(folder: Path) -> Callable[..., Path]:
    """Adds a model to the folder: its name, its code (a class ``Model``) and its settings."""

    def add(name: str, /, code: str | None = None, **settings: Any) -> Path:
        place = folder / name
        place.mkdir()
        (place / "code_of_it.py").write_text(code or "from mlsrv.testing import EchoModel as Model\n")
        settings = {"name": name, "implementation": "code_of_it.Model"} | settings
        (place / "model-settings.json").write_text(json.dumps(settings))
        return place

    return add


@pytest.fixture
def environment() -> dict[str, str]:
    """Return the environment of the tests without anything that `mlsrv` would read."""
    # A width in the environment would count more than that of a terminal. Processes of pytest-xdist set one.
    read = ("MLSRV", "MLSERVER", "COLUMNS", "LINES")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(read)}


@pytest.fixture
def only_tiny(tiny: Path) -> list[str]:
    """Options by which the tiny transport is the only one."""
    return ["--plugin", str(tiny), *(f"--block={name}" for name in OTHERS)]


@pytest.fixture
def only_rest() -> list[str]:
    """Options by which REST is the only transport, on this machine alone."""
    return ["--host", "127.0.0.1", *(f"--block={name}" for name in OTHERS if name != "rest")]


@pytest.fixture
def start(
    folder: Path, only_tiny: list[str], environment: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., Server]]:
    """Starts ``mlsrv start`` on the folder with the tiny transport and further options."""
    started: list[Server] = []

    def start_it(
        *options: str,
        env: Mapping[str, str] | None = None,
        python: str | None = None,
        target: Path | str = folder,
    ) -> Server:
        program = ["-m", "mlsrv_cli"] if python is None else ["-c", python]
        command = [sys.executable, *program, "start", str(target), *only_tiny, *options]
        server = Server(command, environment | dict(env or {}), tmp_path)
        started.append(server)
        return server

    yield start_it
    for server in started:
        server.close()


@pytest.fixture
def mlsrv(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``mlsrv`` to its end."""

    def run(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mlsrv_cli", *map(str, arguments)]
        whole = environment | dict(env or {})
        return subprocess.run(command, env=whole, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


first_free_port = second_free_port = third_free_port = free_port


@pytest.fixture
def free_ports(first_free_port: int, second_free_port: int, third_free_port: int) -> list[int]:
    """Return three free ports of the loopback interface, other ones than `free_port`."""
    return [first_free_port, second_free_port, third_free_port]


@pytest.fixture
def terminal() -> Callable[..., str]:
    """Runs a command on a terminal until it has printed a text; then interrupts it and wants exit code 0."""

    def run(command: list[str], environment: Mapping[str, str], until: str) -> str:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(command, env=dict(environment), stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        try:
            seen = _read_until(ours, until)
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT) == 0
            return seen
        finally:
            process.kill()
            process.wait(LIMIT)
            os.close(ours)

    return run


def _read_until(file: int, until: str) -> str:
    seen = b""
    deadline = time.monotonic() + LIMIT
    while until.encode() not in seen:
        ready, _, _ = select.select([file], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{until!r} did not come: {seen.decode()}"
        seen += os.read(file, 65536)
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", seen.decode().replace("\r\n", "\n"))


@pytest.fixture
def terminal_text() -> Callable[..., str]:
    """Runs a command on a terminal to its end, and returns what it wrote, colours included."""

    def run(command: list[str], environment: Mapping[str, str]) -> str:
        ours, theirs = pty.openpty()
        with subprocess.Popen(command, env=dict(environment), stdin=theirs, stdout=theirs) as process:
            os.close(theirs)
            seen = b""
            while chunk := _read_or_end(ours):
                seen += chunk
            assert process.wait(LIMIT) == 0
        os.close(ours)
        return seen.decode()

    return run


def _read_or_end(file: int) -> bytes:
    try:
        return os.read(file, 65536)
    except OSError:  # Linux says so when the last writer has closed its end
        return b""
