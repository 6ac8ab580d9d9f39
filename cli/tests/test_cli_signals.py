"""Signals: a graceful stop, an immediate one, and nothing that stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SLOW_TO_LEAVE = """
import asyncio
from mlsrv.testing import EchoModel

class Model(EchoModel):
    async def unload(self):
        print("leaving slowly", flush=True)
        await asyncio.sleep(60)
"""

SLOW_TO_LOAD = """
import time
from mlsrv.testing import EchoModel

class Model(EchoModel):
    def load(self):
        print("loading slowly", flush=True)
        time.sleep(60)
"""

WITH_A_THREAD = """
import threading, time
from mlsrv.testing import EchoModel

class Model(EchoModel):
    async def load(self):
        threading.Thread(target=time.sleep, args=(60,)).start()
        return True
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_one_signal_stops_gracefully_and_soon(start, add_model, number: signal.Signals) -> None:
    add_model("good")
    server = start()
    server.wait_for("1 of 1 models ready")
    began = time.monotonic()
    assert server.stop(number) == 0
    assert time.monotonic() - began < 8  # of the 10 s that requests would get
    assert server.errors == ""
    assert "Stopped" in server.lines[-1]


def test_models_are_unloaded_before_the_end(start, add_model, tmp_path: Path) -> None:
    trace = tmp_path / "unloaded"
    code = "from pathlib import Path\nfrom mlsrv.testing import EchoModel\n\nclass Model(EchoModel):\n"
    add_model("good", code=f"{code}    async def unload(self):\n        Path({str(trace)!r}).touch()\n")
    server = start()
    server.wait_for("1 of 1 models ready")
    assert server.stop() == 0
    assert trace.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(start, add_model, number: signal.Signals) -> None:
    add_model("slow", code=SLOW_TO_LEAVE)
    server = start("--shutdown-timeout", "60")
    server.wait_for("1 of 1 models ready")
    server.send(number)
    server.wait_for("leaving slowly")
    assert server.stop(number) == 128 + number


def test_a_stop_does_not_wait_for_a_model_that_is_still_loading(start, add_model) -> None:
    add_model("slow", code=SLOW_TO_LOAD)
    server = start()
    server.wait_for("loading slowly")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 10


def test_threads_of_user_code_do_not_keep_the_process(start, add_model) -> None:
    add_model("threaded", code=WITH_A_THREAD)
    server = start()
    server.wait_for("1 of 1 models ready")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 10


def test_a_stop_during_the_start_ends_well(start, add_model, tmp_path: Path) -> None:
    waiting = tmp_path / "waiting"
    os.mkfifo(waiting)
    plugin = tmp_path / "slow_start.py"
    plugin.write_text(
        "import asyncio, contextlib, pathlib, mlsrv\n\n"
        "@contextlib.asynccontextmanager\nasync def slow():\n    print('starting', flush=True)\n"
        f"    await asyncio.to_thread(pathlib.Path({str(waiting)!r}).read_text)\n    yield\n\n"
        "@mlsrv.hookimpl\ndef mlsrv_lifespan(kernel):\n    return slow()\n"
    )
    server = start("--plugin", str(plugin))
    server.wait_for("starting")
    server.send(signal.SIGTERM)
    waiting.write_text("go on")
    assert server.wait() == 0
    assert server.errors == ""


STUCK = """
import ctypes, os, signal
from mlsrv_cli.signals import StopSignals

stop = StopSignals()
stop.budget = {budget}
stop.install()
print("ready", flush=True)
while True:
    ctypes.CDLL(None).sleep(1000)
"""


def test_a_stop_that_takes_longer_than_its_budget_is_ended_by_force() -> None:
    program = [sys.executable, "-c", STUCK.format(budget=0.3)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors == "Error: The stop took longer than 0.3 s and was ended by force.\n"


def test_signals_that_ask_for_nothing_do_not_end_a_process() -> None:
    program = [sys.executable, "-c", STUCK.format(budget=60)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM):
            assert process.poll() is None
            process.send_signal(number)
            time.sleep(0.05)  # else two equal signals may become one
        assert process.wait(20) == 128 + signal.SIGTERM
