"""What is left of a server's capacity when twice as much is asked of it, over REST.

Run it as a plain script. The server is ``mlsrv start`` with two models in a worker each: one waits for 5 ms,
as for an accelerator, the other computes for 5 ms. First, some clients that send one request after the other
say what a model can do (its capacity). Then requests come at twice that rate, whoever is still waiting: what
counts is how many of them are answered each second against the capacity (goodput), and how long those that
are not refused take. With ``max_in_flight`` requests in, one that is let in should take about as long as that
many calls.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field
from bench_workers import loop_factory

MODELS = """
import time
import mlsrv
from mlsrv.types import InferenceResponse

class Waiting(mlsrv.MLModel):
    def predict(self, payload):
        time.sleep(0.005)
        return InferenceResponse(outputs=[])

class Computing(mlsrv.MLModel):
    def predict(self, payload):
        end = time.thread_time() + 0.005
        while time.thread_time() < end:
            pass
        return InferenceResponse(outputs=[])
"""
NAMES = ("Waiting", "Computing")
IN_FLIGHT = 16
CLIENTS = 12
CONNECTIONS = 256
ROUNDS = 9
SECONDS = 1.5
FACTOR = 2.0
LEAST = 0.9
BODY = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'


def main() -> int:
    with serving() as port, asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(measure(port))
    return 0


@contextmanager
def serving() -> Iterator[int]:
    """The server as a process of its own: its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            place = Path(folder, name)
            place.mkdir()
            (place / "models.py").write_text(MODELS)
            values = {"name": name, "implementation": f"models.{name}", "max_in_flight": IN_FLIGHT}
            (place / "model-settings.json").write_text(json.dumps(values | {"parallel_workers": 1}))
        settings = {"host": "127.0.0.1", "http_port": port}
        Path(folder, "settings.json").write_text(json.dumps(settings))
        with Path(folder, "log").open("w") as log:
            command = [str(Path(sys.executable).parent / "mlsrv"), "start", folder, "--block", "mlsrv-grpc"]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield port
        finally:
            process.terminate()
            process.wait(30)


@define
class Seen:
    """What clients saw.

    Attributes:
        statuses: how often each status came.
        times: seconds of each answer with status 200.
    """

    statuses: Counter[int] = field(factory=Counter)
    times: list[float] = field(factory=list)

    def note(self, status: int, began: float) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.times.append(time.perf_counter() - began)


class Connection:
    """One HTTP connection."""

    def __init__(self, port: int, model: str) -> None:
        self._port = port
        head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: localhost\r\n"
        self._message = f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self) -> int:
        """Send the request and return the status of its answer."""
        self._writer.write(self._message)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = head.partition(b"content-length:")
        await self._reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        self._writer.close()


async def measure(port: int) -> None:
    print(
        f"{IN_FLIGHT} requests in flight, twice the capacity asked, medians of {ROUNDS} x {SECONDS:g} s; "
        f"aim: goodput at least {LEAST} of the capacity"
    )
    columns = ("capacity/s", "asked/s", "goodput/s", "ratio", "refused/s", "p50 ms", "p99 ms", "bound ms")
    print(f"{'model':12}" + "".join(f"{title:>12}" for title in columns))
    for name in NAMES:
        connections = [Connection(port, name) for _ in range(CONNECTIONS)]
        await until_ready(connections[0])
        for connection in connections:
            await connection.open()
        rounds = [await one_round(connections) for _ in range(ROUNDS)]
        for connection in connections:
            connection.close()
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        capacity, asked, good, refused, half, nearly_all = medians
        ratio = statistics.median(figures[2] / figures[0] for figures in rounds)
        bound = IN_FLIGHT / capacity * 1000
        figures = (f"{capacity:.0f}", f"{asked:.0f}", f"{good:.0f}", f"{ratio:.2f}", f"{refused:.0f}")
        print(f"{name:12}" + "".join(f"{text:>12}" for text in figures), end="")
        print(f"{half:12.0f}{nearly_all:12.0f}{bound:12.0f}", flush=True)


async def until_ready(connection: Connection) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            await connection.open()
            if await connection.ask() == 200:
                return
        except ConnectionError:
            pass  # it does not listen yet
        await asyncio.sleep(0.1)
    raise AssertionError("the server does not become ready")


async def one_round(connections: list[Connection]) -> tuple[float, ...]:
    """Capacity, requests asked, answered and refused per second, median and 99th percentile of those that
    were answered in milliseconds."""
    seen = Seen()
    await asyncio.gather(*(one_after_the_other(connection, seen) for connection in connections[:CLIENTS]))
    assert set(seen.statuses) == {200}, seen.statuses
    capacity = seen.statuses[200] / SECONDS
    seen = Seen()
    asked = await at_a_rate(connections, seen, FACTOR * capacity)
    assert set(seen.statuses) <= {200, 503}, seen.statuses
    quantiles = statistics.quantiles(seen.times, n=100)
    good, refused = seen.statuses[200] / SECONDS, seen.statuses[503] / SECONDS
    return capacity, asked / SECONDS, good, refused, quantiles[49] * 1000, quantiles[98] * 1000


async def one_after_the_other(connection: Connection, seen: Seen) -> None:
    end = time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < end:
        seen.note(await connection.ask(), began)


async def at_a_rate(connections: list[Connection], seen: Seen, rate: float) -> int:
    """Ask so often each second, over any connection that is free. Returns how often it was."""
    free = list(connections)
    tasks: set[asyncio.Task[None]] = set()

    async def ask(connection: Connection) -> None:
        began = time.perf_counter()
        seen.note(await connection.ask(), began)
        free.append(connection)

    asked = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        while asked < elapsed * rate and free:
            task = asyncio.create_task(ask(free.pop()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            asked += 1
        await asyncio.sleep(0.001)
    await asyncio.gather(*tasks)
    return asked


if __name__ == "__main__":
    sys.exit(main())
