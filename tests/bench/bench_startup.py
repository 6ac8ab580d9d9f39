"""How long the command takes: to say how it is used, and from its start to the first ready model.

Run it as a plain script. The server is that of the default install plus scikit-learn (all other plugins are
blocked), with the model of tests/examples/iris. Beside it stands what can hardly be beaten: an interpreter
that does nothing, and a script that reads the same artifact with skops and predicts once. Commands take
turns, and the medians are printed.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import psutil

ROUNDS = 3
PATIENCE = 120.0
IRIS = Path(__file__).parents[1] / "examples/iris"
MLSRV = str(Path(sys.executable).with_name("mlsrv"))
KEPT = {"files", "numpy", "rest", "sklearn"}
SKOPS = f"""
import skops.io
estimator = skops.io.load({str(IRIS / "model.skops")!r})
estimator.predict([[5.1, 3.5, 1.4, 0.2]])
print("ready", flush=True)
input()
"""

Figures = tuple[float, float, float]
"""Seconds until it is ready, seconds of processor time until then, MiB of resident memory."""


def main() -> int:
    plain = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
        "mlsrv --version": [MLSRV, "--version"],
        "mlsrv --help": [MLSRV, "--help"],
    }
    print(f"seconds of a command, medians of {2 * ROUNDS}")
    measured = in_turns({name: command_runner(command) for name, command in plain.items()}, 2 * ROUNDS)
    for name, rounds in measured.items():
        print(f"{name:32}{statistics.median(figures[0] for figures in rounds):10.3f}")
    print(f"\nfrom exec to ready with the iris model, medians of {ROUNDS}")
    print(f"{'':32}{'seconds':>10}{'CPU s':>10}{'MiB':>10}")
    for name, rounds in in_turns({"skops and predict": bare, "mlsrv start": served}, ROUNDS).items():
        seconds, processor, memory = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:32}{seconds:10.2f}{processor:10.2f}{memory:10.0f}")
    return 0


def in_turns(runs: dict[str, Callable[[], Figures]], rounds: int) -> dict[str, list[Figures]]:
    """What each run gives, round by round; a first round that warms the disk cache does not count."""
    found: dict[str, list[Figures]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            figures = run()
            if number:
                found[name].append(figures)
    return found


def command_runner(command: list[str]) -> Callable[[], Figures]:
    """Runs a command to its end."""

    def run() -> Figures:
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
        return time.perf_counter() - started, 0.0, 0.0

    return run


def bare() -> Figures:
    """A script that loads the model and predicts."""
    started = time.perf_counter()
    command = [sys.executable, "-c", SKOPS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        figures = taken(process, started)
        process.communicate("\n", timeout=PATIENCE)
    return figures


def served() -> Figures:
    """A server that is ready for the model."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    blocked = {point.name for point in metadata.entry_points(group="mlsrv")} - KEPT
    options = [f"--block={name}" for name in sorted(blocked)]
    started = time.perf_counter()
    command = [MLSRV, "start", str(IRIS), f"--http-port={port}", "--host=127.0.0.1", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while not is_ready(port):
                assert process.poll() is None, "the server ended"
                assert time.perf_counter() - started < PATIENCE, "the server is not ready"
                time.sleep(0.05)  # more often would be felt by the server
            return taken(process, started)
        finally:
            process.terminate()


def is_ready(port: int) -> bool:
    """Whether the server and its model answer requests."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def taken(process: subprocess.Popen[str] | subprocess.Popen[bytes], started: float) -> Figures:
    """What a process has taken since its start, with its children."""
    seconds = time.perf_counter() - started
    family = psutil.Process(process.pid)
    members = [family, *family.children(recursive=True)]
    times = [member.cpu_times() for member in members]
    memory = sum(member.memory_info().rss for member in members)
    return seconds, sum(used.user + used.system for used in times), memory / 2**20


if __name__ == "__main__":
    sys.exit(main())
