"""Fixtures for pytest: ports, models, kernels, and what a test leaves behind."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mlsrv.testing.fixtures
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel, make_kernel, text_request
from mlsrv_testing import fixtures


def test_the_fixtures(free_port: int, echo_model: ModelSettings, make_kernel: Callable[..., Kernel]) -> None:
    assert 0 < free_port < 2**16
    assert (echo_model.name, echo_model.implementation) == ("echo", EchoModel)
    assert make_kernel(echo_model).settings.host == "127.0.0.1"


def test_free_ports_differ_and_those_in_use_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = fixtures._free_port(), fixtures._free_port()
    assert one != two
    with socket.create_server(("127.0.0.1", one)):
        monkeypatch.setattr(fixtures, "_PORTS", [one, two])
        assert [fixtures._free_port() for _ in range(3)] == [two] * 3
        monkeypatch.setattr(fixtures, "_PORTS", [one])
        with pytest.raises(OSError, match="no port"):
            fixtures._free_port()


async def test_a_kernel_leaves_nothing_behind(no_leaks: None, echo_model: ModelSettings) -> None:
    async with make_kernel(echo_model) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("echo", ["a"]))


LEAKS = """
import logging, os, socket, subprocess, sys, threading
from mlsrv_testing import fixtures

fixtures.PATIENCE = 0.5
kept = []

def test_clean(no_leaks):
    with socket.socket():
        pass

def test_variable(no_leaks):
    os.environ["MLSRV_LEAK"] = "1"

def test_handler(no_leaks):
    logging.getLogger().addHandler(logging.NullHandler())

def test_level(untouched_process):
    logging.getLogger().setLevel(logging.DEBUG)

def test_thread(no_leaks):
    stop = threading.Event()
    kept.append(stop)
    threading.Thread(target=stop.wait, args=(60,), name="leaked", daemon=True).start()

def test_file(no_leaks):
    kept.append(open(__file__))

def test_socket(no_leaks):
    kept.append(socket.socket())

def test_process(no_leaks):
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_brief_thread(no_leaks):
    threading.Timer(0.2, lambda: None).start()
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="what a process holds is seen on Linux only")
def test_leaks_are_found(tmp_path: Path) -> None:
    path = tmp_path / "test_leaks.py"
    path.write_text(LEAKS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "mlsrv.testing.fixtures", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-rA", "-W", "ignore", "--rootdir", str(tmp_path), str(path)],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=tmp_path,
    )
    failed = {
        line.split("::")[1].split()[0] for line in done.stdout.splitlines() if line.startswith("ERROR ")
    }
    assert failed == {
        *("test_variable", "test_handler", "test_level", "test_thread", "test_file", "test_socket"),
        "test_process",
    }, done.stdout
    assert "thread leaked" in done.stdout
    assert "MLSRV_LEAK" in done.stdout


def test_the_fixtures_are_found_under_their_old_names() -> None:
    for name in fixtures.__all__:
        assert getattr(mlsrv.testing.fixtures, name) is getattr(fixtures, name)
