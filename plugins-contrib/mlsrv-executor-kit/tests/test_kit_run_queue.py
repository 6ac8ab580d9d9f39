"""Run queue: the time that a thread waits for a processor."""

import os
import subprocess
import sys
import time

import pytest

from mlsrv_executor_kit.run_queue import run_queue_ns

SHARED = """
import os, subprocess, sys
from mlsrv_executor_kit.run_queue import run_queue_ns

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
try:
    began = run_queue_ns()
    while run_queue_ns() - began < 20_000_000:
        pass
finally:
    other.kill()
"""


@pytest.mark.skipif(not os.path.exists("/proc/thread-self/schedstat"), reason="the system does not tell")
def test_waiting_for_the_processor_counts() -> None:
    subprocess.run([sys.executable, "-c", SHARED], check=True, timeout=60)


@pytest.mark.skipif(not os.path.exists("/proc/thread-self/schedstat"), reason="the system does not tell")
def test_sleeping_does_not_count() -> None:
    slept = []
    for _ in range(10):  # after each the thread may wait for the processor
        began = run_queue_ns()
        time.sleep(0.02)
        slept.append(run_queue_ns() - began)
    assert min(slept) < 15_000_000


def test_it_is_0_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", refuse)
    assert run_queue_ns() == 0
