"""What a second process brings: requests to a model that does nothing, over REST, with one process and two.

Run it as a plain script. Servers run in turns, each with its own clients: several connections in processes of
their own, so that they do not share an interpreter. The medians are printed: requests a second, and requests
for each second of processor time of the server. With two cores, clients take as much of them as servers do:
the second figure says what the processes cost, the first one only what this machine has left.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import psutil

ROUNDS = 5
SECONDS = 3.0
CLIENTS = 2
CONNECTIONS = 16
"""Of each client; each has one request on its way at any time."""
PATIENCE = 120.0
MLSRV = str(Path(sys.executable).with_name("mlsrv"))
KEPT = {"files", "numpy", "rest", "cli"}
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [1]}]})
CODE = """
from mlsrv import MLModel
from mlsrv.types import InferenceResponse

class Noop(MLModel):
    async def predict(self, request):
        return InferenceResponse(model_name=self.name, outputs=[])
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "noop"
        place.mkdir()
        (place / "noop.py").write_text(CODE)
        (place / "model-settings.json").write_text('{"name": "noop", "implementation": "noop.Noop"}')
        counts = (1, 2)
        found: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
        for _ in range(ROUNDS):
            for count in counts:
                found[count].append(measured(Path(folder), count))
    print(f"{'processes':>10}{'requests/s':>14}{'requests/CPU s':>18}")
    medians = {
        count: [statistics.median(column) for column in zip(*rounds, strict=True)]
        for count, rounds in found.items()
    }
    for count, (rate, each) in medians.items():
        print(f"{count:>10}{rate:14,.0f}{each:18,.0f}")
    print(f"{'2 / 1':>10}{medians[2][0] / medians[1][0]:14.2f}{medians[2][1] / medians[1][1]:18.2f}")
    return 0


def measured(folder: Path, count: int) -> tuple[float, float]:
    """Requests a second, and requests for each second of the server's processor time."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    blocked = {point.name for point in metadata.entry_points(group="mlsrv")} - KEPT
    options = [f"--block={name}" for name in sorted(blocked)]
    command = [MLSRV, "start", str(folder), "--host=127.0.0.1", f"--http-port={port}", *options]
    with subprocess.Popen([*command, f"--processes={count}"], stdout=subprocess.DEVNULL) as server:
        try:
            began = time.monotonic()
            while not is_ready(port):
                assert server.poll() is None, "the server ended"
                assert time.monotonic() - began < PATIENCE, "the server is not ready"
                time.sleep(0.1)
            ask(port, 0.5)
            before = processor_time(server.pid)
            with multiprocessing.get_context("fork").Pool(CLIENTS) as pool:
                done = sum(pool.starmap(ask, [(port, SECONDS)] * CLIENTS))
            return done / SECONDS, done / (processor_time(server.pid) - before)
        finally:
            server.terminate()


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def ask(port: int, seconds: float) -> int:
    """Send requests over several connections. Returns how many were answered.

    Requests are written and answers read as bytes: a client library would cost more than the server.
    """
    head = f"POST /v2/models/noop/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n"
    request = (head + BODY).encode()
    connections = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(CONNECTIONS)]
    done, end = 0, time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for each in connections:
            selector.register(each, selectors.EVENT_READ, each)
            each.sendall(request)
        while time.monotonic() < end:
            for key, _ in selector.select(1.0):
                assert key.data.recv(65536).startswith(b"HTTP/1.1 200")
                done += 1
                key.data.sendall(request)
    for each in connections:
        each.close()
    return done


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process and those that it started have taken."""
    parent = psutil.Process(pid)
    times = [one.cpu_times() for one in (parent, *parent.children(recursive=True))]
    return sum(used.user + used.system for used in times)


if __name__ == "__main__":
    sys.exit(main())
