"""``mlsrv top`` and a real server, with and without a terminal."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define, field
from prometheus_client import CollectorRegistry, Gauge, start_http_server

LIMIT = 30.0
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [3]}]})


@pytest.fixture
def only_tiny(only_rest: list[str]) -> list[str]:
    """Here it is REST that is the only transport."""
    return only_rest


@pytest.fixture
def served(start: Any, add_model: Any, free_port: int) -> Any:
    """A server with a model that answers and one that does not."""
    add_model("echo", parameters={"version": "v1"})
    add_model("failing", code="from mlsrv.testing import FailingModel as Model\n")
    server = start("--http-port", str(free_port))
    server.wait_for("2 of 2 models ready")
    return server


@pytest.fixture
def load(served: Any, free_port: int) -> Iterator[None]:
    """Asks both models, again and again, while the test runs."""
    ended = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", free_port, timeout=LIMIT)
        while not ended.wait(0.002):
            for model in ("echo", "failing"):
                connection.request("POST", f"/v2/models/{model}/infer", BODY)
                connection.getresponse().read()
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    ended.set()
    thread.join(LIMIT)


def command(port: int, *options: str) -> list[str]:
    metrics = ["--metrics-url", f"http://127.0.0.1:{port}/nowhere"]
    return [sys.executable, "-m", "mlsrv_cli", "top", "-u", f"http://127.0.0.1:{port}", *metrics, *options]


@define
class Screen:
    """The command on a terminal of its own."""

    process: subprocess.Popen[bytes]
    file: int
    before: list[Any]
    seen: bytes = field(default=b"")

    def wait_for(self, pattern: str) -> str:
        """Everything that was written, colours and movements left out, once `pattern` is in what is new."""
        end, start = time.monotonic() + LIMIT, len(self.seen)
        while not re.search(pattern, text := _bare(self.seen[start:])):
            ready, _, _ = select.select([self.file], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{pattern!r} did not come: {text[-2000:]}"
            self.seen += os.read(self.file, 65536)
        return text

    def press(self, key: str) -> None:
        os.write(self.file, key.encode())

    def wait(self) -> int:
        """Return the exit code; reads the output meanwhile, so that the process does not block."""
        while self.process.poll() is None:
            if select.select([self.file], [], [], 0.05)[0]:
                self.seen += os.read(self.file, 65536)
        while select.select([self.file], [], [], 0.0)[0]:
            self.seen += os.read(self.file, 65536)
        return self.process.returncode

    def is_clean(self) -> bool:
        """Whether the terminal is as it was: no other screen, the cursor shown, keys echoed."""
        left = self.seen.rfind(b"\x1b[?1049l") > self.seen.rfind(b"\x1b[?1049h")
        cursor = self.seen.rfind(b"\x1b[?25h") > self.seen.rfind(b"\x1b[?25l")
        return left and cursor and termios.tcgetattr(self.file) == self.before


def _bare(data: bytes) -> str:
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace"))


@pytest.fixture
def screen(environment: dict[str, str]) -> Iterator[Callable[..., Screen]]:
    """Runs ``mlsrv top`` on a terminal."""
    opened: list[Screen] = []
    descriptors: list[int] = []

    def run(arguments: list[str], columns: int = 120) -> Screen:
        ours, theirs = pty.openpty()
        descriptors.extend((ours, theirs))
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        before = termios.tcgetattr(ours)
        variables = environment | {"TERM": "xterm-256color"}
        process = subprocess.Popen(
            arguments, env=variables, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        opened.append(Screen(process, ours, before))
        return opened[-1]

    yield run
    for one in opened:
        one.process.kill()
        one.process.wait(LIMIT)
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.usefixtures("load")
def test_a_live_view(screen: Any, free_port: int) -> None:
    top = screen(command(free_port, "--interval", "0.3"))
    text = top.wait_for(r"(?s)echo:v1 +READY +[1-9].*failing +READY +0 +[1-9]")
    assert f"at http://127.0.0.1:{free_port}" in text
    assert "it answers with status 404. Without them there are no percentiles." in text
    top.press("r")
    top.wait_for(r"(?s)echo:v1 +READY.*failing +READY")
    top.press("q")
    assert top.wait() == 0
    assert top.is_clean()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_the_terminal_is_left_clean(screen: Any, served: Any, free_port: int, number: Any, code: int) -> None:
    top = screen(command(free_port, "--interval", "0.3"), columns=50)
    top.wait_for("READY")
    top.process.send_signal(number)
    assert top.wait() == code
    assert top.is_clean()


def test_a_server_that_goes_away_and_comes_back(screen: Any, served: Any, start: Any, free_port: int) -> None:
    top = screen(command(free_port, "--interval", "0.2"))
    top.wait_for("READY")
    assert served.stop() == 0
    top.wait_for("cannot be reached")
    start("--http-port", str(free_port))
    top.wait_for(r"  ready  [0-9.]+ requests/s")
    top.press("q")
    assert top.wait() == 0


def test_a_server_that_is_not_there_yet(screen: Any, free_port: int) -> None:
    top = screen(command(free_port))
    top.wait_for("cannot be reached")
    top.press("q")
    assert top.wait() == 0
    assert top.is_clean()


@pytest.mark.usefixtures("load")
def test_without_a_terminal_it_prints_once(mlsrv: Any, free_port: int) -> None:
    result = mlsrv(*command(free_port, "--interval", "0.5")[3:])
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"echo:v1 +READY +[1-9]", result.stdout)
    assert "\x1b" not in result.stdout


@pytest.mark.usefixtures("load")
def test_json(mlsrv: Any, free_port: int) -> None:
    registry = CollectorRegistry()
    Gauge("mlsrv_requests_in_flight", "x", ["model_name", "model_version"], registry=registry).labels(
        "echo", "v1"
    ).set(3)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        result = mlsrv(*command(free_port, "--json", "-i", "0.5", "--metrics-url", url)[3:])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LIMIT)
    assert result.returncode == 0, result.stderr
    reading = json.loads(result.stdout)
    echo = next(model for model in reading["models"] if model["name"] == "echo")
    assert (echo["version"], echo["state"], echo["in_flight"]) == ("v1", "READY", 3)
    assert echo["rate"] > 0
    assert echo["mean"] > 0
    assert (reading["ready"], reading["missing"]) == (True, "")


def test_a_server_that_does_not_answer_is_one_line(mlsrv: Any, free_port: int) -> None:
    result = mlsrv(*command(free_port, "--once")[3:])
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: The server 127.0.0.1:{free_port} cannot be reached")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--interval", "0"], "0.1<=x<=3600"),
        (["--interval", "nan"], "number of seconds"),
        (["-u", "ftp://x"], "ftp"),
    ],
)
def test_mistakes(mlsrv: Any, options: list[str], message: str) -> None:
    result = mlsrv("top", "--once", *options)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
