"""The default configuration as `mlsrv start` serves it, against its parts and against other servers.

Run it as a plain script. It serves a model that does nothing, the iris model of tests/examples, and the same
model with batching, in the server and in one worker, each in processes of its own, and the least that a
server in Python takes (`bare_server.py`). It asks all of them in turns over 1 and 32 connections (batches:
32), and prints the processor time of a request (user and system, of the server and all its children), the
share of the front and of the worker, and the ratio to the first server of the table.

`MLSRV_BENCH_PEERS` names other servers to run in the same turns: ``mosec=/path/to/python`` names the
interpreter of an environment with mosec and scikit-learn, ``before=/path/to/python`` one with another version
of mlsrv. Several are separated by commas; ``mlserver`` is for other scripts. Times depend on the machine and
on who else uses it; the ratios of one run count.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import psutil
from attrs import frozen

CONNECTIONS = {"noop": (1, 32), "iris": (1, 32), "batch": (32,)}
PEERS = "MLSRV_BENCH_PEERS"
BATCH = 32
"""Requests that travel together at most where batching is on."""
ROUNDS = 5
SECONDS = 1.0
START_SECONDS = 120
END_SECONDS = 10
IRIS = Path(__file__).parents[1] / "examples/iris/model.skops"
BODY = b'{"id":"1","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
START = "import sys; from mlsrv_cli.main import main; sys.exit(main())"

MOSEC = """
import os
import numpy as np
from mosec import Server, Worker

class Noop(Worker):
    def forward(self, data):
        return data

class Iris(Worker):
    def __init__(self):
        super().__init__()
        from sklearn.datasets import load_iris
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        model = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis())
        self.model = model.fit(*load_iris(return_X_y=True))

    def forward(self, data):
        return self.answer(data, self.model.predict(self.rows(data)))

    def rows(self, data):
        [tensor] = data["inputs"]
        return np.array(tensor["data"], dtype="float32").reshape(tensor["shape"])

    def answer(self, data, found):
        output = {"name": "predict", "shape": list(found.shape), "datatype": "INT64", "data": found.tolist()}
        return {"id": data.get("id"), "outputs": [output]}

class Batch(Iris):
    def forward(self, batch):
        parts = [self.rows(data) for data in batch]
        found = self.model.predict(np.concatenate(parts))
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return [self.answer(data, part) for data, part in zip(batch, np.split(found, ends))]

server = Server()
kind = os.environ["KIND"]
batching = {"max_batch_size": int(os.environ["BATCH"]), "max_wait_time": 10} if kind == "batch" else {}
server.append_worker({"noop": Noop, "iris": Iris, "batch": Batch}[kind], num=1, **batching)
server.run()
"""


@frozen
class Served:
    """One server: its processes and where it answers."""

    process: psutil.Process
    port: int
    path: str
    body: bytes = BODY

    def seconds(self) -> tuple[float, float]:
        """Return the processor time of the front, and of all processes below it."""
        below = 0.0
        for child in self.process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                below += sum(child.cpu_times()[:2])
        return sum(self.process.cpu_times()[:2]), below


def main() -> int:
    others = [(name, python) for name, python in peers().items() if name != "mlserver"]
    print_heads()
    for kind, numbers in CONNECTIONS.items():
        with contextlib.ExitStack() as stack:
            served = {}
            for name, python in (
                *others,
                ("one worker", sys.executable),
                ("in-process", sys.executable),
            ):
                serve = mosec if name == "mosec" else mlsrv
                workers = 0 if name == "in-process" else 1
                served[name] = stack.enter_context(serve(kind, python, workers))
            if kind == "noop":
                served["bare"] = stack.enter_context(bare())
            for connections in numbers:
                report(kind, connections, served)
    return 0


def peers() -> dict[str, str]:
    """Return the interpreter of each other server that is to be measured."""
    return dict(item.split("=", 1) for item in os.environ.get(PEERS, "").split(",") if item)


def print_heads() -> None:
    """Print what the columns of `report` are."""
    print(f"microseconds of CPU for each request, medians of {ROUNDS} x {SECONDS:g} s, in turns")
    print(f"{'':32}{'all':>9}{'front':>9}{'worker':>9}{'per CPU s':>11}{'p50 us':>9}{'ratio':>8}")


def report(kind: str, connections: int, served: dict[str, Served], aims: Mapping[str, float] = {}) -> None:
    """Measure the servers in turns, after a turn that does not count, and print a line for each."""
    for server in served.values():
        load(server, connections, SECONDS)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in served}
    for _ in range(ROUNDS):
        for name, server in served.items():
            front, below = server.seconds()
            count, median = load(server, connections, SECONDS)
            after_front, after_below = server.seconds()
            found[name].append(((after_front - front) / count, (after_below - below) / count, median))
    first = 0.0
    for name, rows in found.items():
        front, worker, median = (1e6 * statistics.median(column) for column in zip(*rows, strict=True))
        both = 1e6 * statistics.median(row[0] + row[1] for row in rows)
        first = first or both
        title, rate = f"{kind}, {connections}: {name}", 1e6 / both
        columns = f"{both:9.1f}{front:9.1f}{worker:9.1f}{rate:11.0f}{median:9.0f}{first / both:8.2f}"
        aim = f"  aim {aims[name]:g}" if name in aims else ""
        print(f"{title:32}{columns}{aim}", flush=True)


@contextlib.contextmanager
def mlsrv(kind: str, python: str, workers: int) -> Iterator[Served]:
    """Serve a model with `mlsrv start`."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model-settings.json").write_text(json.dumps(model_of(kind)), encoding="utf-8")
        settings = {
            "http_port": port,
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "parallel_workers": workers,
            "model_repository_root": folder,
        }
        Path(folder, "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        command = [python, "-c", START, "start", folder]
        with running(command, port, f"/v2/models/{kind}/infer") as served:
            yield served


def model_of(kind: str) -> dict[str, Any]:
    """Return the settings of a model."""
    if kind == "noop":
        return {"name": kind, "implementation": "mlsrv.testing.EchoModel"}
    batching = {"max_batch_size": BATCH, "max_batch_time": "auto"} if kind == "batch" else {}
    return {"name": kind, "implementation": "sklearn", "parameters": {"uri": str(IRIS)}, **batching}


@contextlib.contextmanager
def bare() -> Iterator[Served]:
    """Serve with `bare_server.py`."""
    port = free_port()
    script = str(Path(__file__).with_name("bare_server.py"))
    with running([sys.executable, script, str(port)], port, "/") as served:
        yield served


@contextlib.contextmanager
def mosec(kind: str, python: str, workers: int) -> Iterator[Served]:
    """Serve a model with mosec, in one worker, which it always has."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "serve.py")
        script.write_text(MOSEC, encoding="utf-8")
        command = [python, str(script), "--port", str(port), "--log-level", "error"]
        with running(command, port, "/inference", KIND=kind, BATCH=str(BATCH)) as served:
            yield served


@contextlib.contextmanager
def running(
    command: list[str], port: int, path: str, body: bytes = BODY, **variables: str
) -> Iterator[Served]:
    """Run a server until the block ends; enter the block once it answers a body."""
    # Servers refuse variables with their prefix that they do not know.
    env = {name: value for name, value in os.environ.items() if name != PEERS} | variables
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=env) as process,
    ):
        try:
            served = Served(psutil.Process(process.pid), port, path, body)
            wait_for(served, process, log)
            yield served
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and what it has started, by force if it does not stop in time."""
    if process.poll() is not None:
        return
    below = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in psutil.wait_procs(below, END_SECONDS)[1]:
        child.kill()


def wait_for(served: Served, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Wait until a server answers; show the end of its log if it does not."""
    end = time.monotonic() + START_SECONDS
    failure: Exception = RuntimeError("it has ended")
    while process.poll() is None and time.monotonic() < end:
        try:
            load(served, 1, 0.2)
            return
        except (OSError, AssertionError) as error:
            failure = error
        time.sleep(0.2)
    log.seek(0)
    told = log.read()[-2000:].decode(errors="replace")
    raise RuntimeError(f"{process.args!r} does not answer: {failure}\n{told}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
    return port


class Client(asyncio.Protocol):
    """Asks again as soon as it has an answer, until `stop` is set; notes the seconds of each request."""

    def __init__(self, request: bytes, seconds: list[float]) -> None:
        self.stop = False
        self.failure = b""
        self._request = request
        self._seconds = seconds
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        if b" 200" not in head[:14]:
            self.failure = self._received
        self._received = b""
        self._seconds.append(time.perf_counter() - self._began)
        if not self.stop:
            self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self.transport.write(self._request)  # type: ignore[attr-defined]  # a transport of a socket


def load(server: Served, connections: int, seconds: float) -> tuple[int, float]:
    """Ask over all connections for some time. Returns how many answers came, and their median seconds."""
    return asyncio.run(ask(server, connections, seconds))


async def ask(server: Served, connections: int, seconds: float) -> tuple[int, float]:
    head = f"POST {server.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(server.body)}\r\n\r\n".encode() + server.body
    durations: list[float] = []
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Client(request, durations), "127.0.0.1", server.port)
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    for _, client in opened:
        client.stop = True
    count = len(durations)
    await asyncio.sleep(0.05)
    for transport, _ in opened:
        transport.abort()
    failures = [client.failure for _, client in opened if client.failure]
    assert count, "no request was answered"
    assert not failures, failures[0]
    return count, statistics.median(durations)


if __name__ == "__main__":
    sys.exit(main())
