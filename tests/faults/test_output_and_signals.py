"""Output whose reader stalls or is gone, and signals that do not ask for a stop."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from mlsrv.testing.fixtures import free_port

pytestmark = pytest.mark.timeout(90)

MODELS = """
import sys
import mlsrv
from mlsrv.testing import EchoModel as Echo

class Loud(mlsrv.MLModel):
    async def predict(self, payload):
        raise ValueError("\\n2026-01-01 forged\\x1b[31m " + "x" * 20000)

class Prints(Echo):
    async def predict(self, payload):
        print("x" * 20000)
        return await super().predict(payload)
"""
BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}]}

another_port = free_port


@pytest.fixture
def command(tmp_path: Path, free_port: int) -> list[str]:
    """``mlsrv start`` of three models over REST alone, without workers."""
    for name, implementation in (("loud", "Loud"), ("prints", "Prints"), ("echo", "Echo")):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "models.py").write_text(MODELS)
        (folder / "model-settings.json").write_text(f'{{"implementation": "models.{implementation}"}}')
    program = [str(Path(sys.executable).parent / "mlsrv"), "start", str(tmp_path / "models")]
    options = ["--host=127.0.0.1", f"--http-port={free_port}", "--shutdown-timeout=1", "--block=workers"]
    return [*program, *options, "--block=grpc", "--block=prometheus"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts a process, which is ended with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        processes.append(subprocess.Popen(command, cwd=tmp_path, **options))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait(20)


def wait_ready(url: str, process: "subprocess.Popen[bytes]", verify: Any = True) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/v2/health/ready", verify=verify).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError("it did not become ready")


def ask(url: str, model: str) -> int:
    return httpx.post(f"{url}/v2/models/{model}/infer", json=BODY, timeout=10).status_code


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_reader_that_stalls_stops_nothing(
    command: list[str], run: Any, free_port: int, tmp_path: Path, log_format: str
) -> None:
    fifo, url = tmp_path / "fifo", f"http://127.0.0.1:{free_port}"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with fifo.open("wb") as out:
        process = run([*command, "--log-format", log_format, "--access-log"], stdout=out, stderr=out)
    wait_ready(url, process)
    for _ in range(10):
        assert ask(url, "loud") == 500
        assert ask(url, "prints") == 200
        assert httpx.get(f"{url}/v2/health/live", timeout=2).status_code == 200
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert time.monotonic() - began < 8
    os.close(reading)


def test_two_signals_end_a_server_whose_main_thread_is_stuck(
    command: list[str], run: Any, free_port: int, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "stuck"
    folder.mkdir()
    (folder / "stuck.py").write_text(
        "import ctypes, mlsrv\n\nclass Model(mlsrv.MLModel):\n    async def predict(self, payload):\n"
        "        while True:\n            ctypes.CDLL(None).sleep(1000)\n"
    )
    (folder / "model-settings.json").write_text('{"implementation": "stuck.Model"}')
    process = run(command, stdout=subprocess.PIPE)
    wait_ready(f"http://127.0.0.1:{free_port}", process)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"http://127.0.0.1:{free_port}/v2/models/stuck/infer", json=BODY, timeout=1)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 128 + signal.SIGTERM
    process.stdout.close()


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-", "| head -1"])
def test_a_server_whose_streams_are_closed_serves(
    command: list[str], run: Any, free_port: int, tmp_path: Path, streams: str
) -> None:
    errors = tmp_path / "errors"
    line = f'echo $BASHPID > pid; exec "$@" {streams}'
    if streams.startswith("|"):
        line = f'(echo $BASHPID > pid; exec "$@") {streams}'
    with errors.open("wb") as out:
        shell = run(["bash", "-c", line, "bash", *command], stdout=out, stderr=out)
    url = f"http://127.0.0.1:{free_port}"
    wait_ready(url, shell)
    for _ in range(3):
        assert ask(url, "loud") == 500
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    assert shell.wait(15) == 0
    said = errors.read_text().splitlines()
    if ">&-" in streams.split("2>&-")[0] or streams.startswith("|"):
        assert len(said) <= 2, said
    if streams.startswith("|"):
        assert said[-1].startswith("Error: The log cannot be written to stdout: Broken pipe")


def test_certificates_and_log_files_are_read_again_under_load_and_nothing_is_lost(
    command: list[str], run: Any, free_port: int, tmp_path: Path
) -> None:
    url, log, pem = f"https://127.0.0.1:{free_port}", tmp_path / "log", tmp_path / "both.pem"
    (tmp_path / "logging.json").write_text(
        '{"handlers": {"file": {"class": "logging.FileHandler", "filename": "log"}},'
        ' "root": {"handlers": ["file"], "level": "INFO"}}'
    )
    old, new = trustme.CA(), trustme.CA()
    old.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    contexts = []
    for authority in (old, new):
        contexts.append(httpx.create_ssl_context())
        authority.configure_trust(contexts[-1])
    process = run(
        [*command, f"--http-tls-cert={pem}", f"--logging-settings={tmp_path / 'logging.json'}"],
        stdout=subprocess.DEVNULL,
    )
    wait_ready(url, process, contexts[0])

    async def scenario() -> None:
        answered, done = 0, asyncio.Event()

        async def load() -> None:
            nonlocal answered
            async with httpx.AsyncClient(verify=contexts[0], timeout=20) as client:
                while not done.is_set():
                    assert (await client.post(f"{url}/v2/models/echo/infer", json=BODY)).status_code == 200
                    answered += 1

        clients = [asyncio.create_task(load()) for _ in range(8)]
        while answered < 50:
            await asyncio.sleep(0.01)
        log.rename(tmp_path / "log.1")
        new.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            process.send_signal(number)
        while not log.exists() or "has read its files again" not in log.read_text():
            assert process.poll() is None
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(verify=contexts[1]) as client:
            assert (await client.get(f"{url}/v2/health/ready")).status_code == 200
        seen = answered
        while answered < seen + 50:
            await asyncio.sleep(0.01)
        done.set()
        await asyncio.gather(*clients)

    asyncio.run(scenario())
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert "SIGUSR2 asks for nothing" in log.read_text() + (tmp_path / "log.1").read_text()


def test_a_server_ends_with_its_terminal(command: list[str], run: Any, free_port: int) -> None:
    ours, theirs = pty.openpty()
    program = (
        "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); "  # it is ignored where the tests run under nohup
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    process = run(
        [sys.executable, "-c", program, *command],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs)
    wait_ready(f"http://127.0.0.1:{free_port}", process)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    os.close(ours)
    assert process.wait(15) == 0
