"""What keys cost, and what they are worth: no-op inference over REST with a file of 1,000 keys and without,
and a modest client beside a greedy one that asks for twice what a model can do.

Run it as a plain script. The first part has one server process with a kernel for each variant, loaded in
short turns by one client, in changing order; what counts is the CPU time of the server for each request, as
medians of the differences between neighbours in time. "off again" shows how much two equal kernels differ,
"header" what the longer head of the request costs without any keys.

In the second part a model takes 5 ms for a request, one after the other; the greedy client sends twice as
many as it can do now, the modest one a tenth. What counts is the part of its requests that the modest client
gets an answer to, once with a key for each client and once with one key for both.
"""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlsrv.authorization import ACTIONS
from mlsrv_keys.key_file import Key, write_keys

BODY = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.0]}]}'
ENTRIES = 1000
CONNECTIONS = 16
ROUNDS = 60
REQUESTS = 20
"""Of each connection in a turn."""
WORK = 0.005
IN_FLIGHT = 20
OVERLOAD_SECONDS = 8.0
CAPACITY_SECONDS = 3.0
LIMIT = 10.0
"""Microseconds that a key may cost."""
LEAST = 0.95
"""Part of its requests that a modest client should keep."""

SERVER = """
import asyncio, contextlib, gc, json, signal, sys, time
import mlsrv
from mlsrv.testing import EchoModel

class Working(mlsrv.MLModel):
    def predict(self, payload):
        time.sleep(WORK)
        return mlsrv.types.InferenceResponse(outputs=[])

async def serve(stack, settings, ended):
    models = [
        mlsrv.ModelSettings(name="noop", implementation=EchoModel),
        mlsrv.ModelSettings(name="working", implementation=Working, max_in_flight=IN_FLIGHT),
    ]
    given = {"host": "127.0.0.1", "http_port": 0, "executor": "inline", "metrics_endpoint": None} | settings
    kernel = await stack.enter_async_context(mlsrv.Kernel(given, models=models, block=["grpc", "kafka"]))
    await kernel.loaded()
    started = asyncio.Event()
    serving = asyncio.create_task(kernel.serve(ended.wait, started.set))
    await started.wait()
    return serving, int(kernel.transports["rest"].endpoints[0].rpartition(":")[2])

async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        served = {name: await serve(stack, one, ended) for name, one in json.loads(sys.argv[1]).items()}
        gc.freeze()
        print(json.dumps({name: port for name, (_, port) in served.items()}), flush=True)
        await asyncio.gather(*(serving for serving, _ in served.values()))

asyncio.run(main())
""".replace("IN_FLIGHT", str(IN_FLIGHT)).replace("WORK", str(WORK))


class Connection:
    """One connection, which sends one request after the other."""

    def __init__(self, port: int, path: str, key: str | None) -> None:
        self._port = port
        head = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(BODY)}"]
        head += [f"authorization: Bearer {key}"] if key is not None else []
        self._request = "\r\n".join([*head, "", ""]).encode() + BODY

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._writer.close()

    async def ask(self) -> int:
        """Send a request; returns the status of its answer."""
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await self._reader.readexactly(length)
        return int(head[9:12])


@contextmanager
def serving(variants: dict[str, Any]) -> Iterator[tuple[int, dict[str, int]]]:
    """Start a server; gives its process and the port of each variant."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, json.dumps(variants)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.pid, json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def cpu_seconds(process: int) -> float:
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in threads) / 1e9


async def turn(process: int, port: int, key: str | None) -> float:
    """Load one variant for a while; returns microseconds of CPU time for each request."""

    async def client() -> None:
        async with Connection(port, "/v2/models/noop/infer", key) as connection:
            for _ in range(REQUESTS):
                assert await connection.ask() == 200

    before = cpu_seconds(process)
    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return (cpu_seconds(process) - before) / (CONNECTIONS * REQUESTS) * 1e6


async def measure_cost(process: int, ports: dict[str, int], key: str) -> None:
    found: dict[str, list[float]] = {name: [] for name in ports}
    names = list(ports)
    for number in range(ROUNDS):
        for name in names if number % 2 else reversed(names):
            found[name].append(await turn(process, ports[name], key if name in ("keys", "header") else None))
    print(f"{'variant':12} {'us/request':>11} {'more':>7}")
    for name, values in found.items():
        more = statistics.median(one - off for one, off in zip(values, found["off"], strict=True))
        print(f"{name:12} {statistics.median(values):11.1f} {more:+7.1f}")
    print(f"aim: keys cost at most {LIMIT:g} us\n")


async def flood(port: int, key: str, rate: float, connections: int, *, even: bool) -> Counter[int]:
    """Send requests at a rate, for a while, whatever becomes of them; returns how often each status came.

    Where `even` is true, those that this process could not send in time are left out; else they follow at
    once.
    """
    found: Counter[int] = Counter()
    due: asyncio.Queue[None] = asyncio.Queue()

    async def client() -> None:
        async with Connection(port, "/v2/models/working/infer", key) as connection:
            while True:
                await due.get()
                found[await connection.ask()] += 1
                due.task_done()

    clients = [asyncio.create_task(client()) for _ in range(connections)]
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < OVERLOAD_SECONDS:
        while sent < passed * rate:
            due.put_nowait(None)
            sent = int(passed * rate) + 1 if even else sent + 1
        await asyncio.sleep(0.002)
    await due.join()
    for one in clients:
        one.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return found


async def capacity(port: int, key: str) -> float:
    """Requests per second that the model can do now; less than 1 / WORK on a machine with other work."""
    done, end = 0, time.monotonic() + CAPACITY_SECONDS

    async def client() -> None:
        nonlocal done
        async with Connection(port, "/v2/models/working/infer", key) as connection:
            while time.monotonic() < end:
                assert await connection.ask() == 200
                done += 1

    await asyncio.gather(*(client() for _ in range(IN_FLIGHT // 3)))
    return done / CAPACITY_SECONDS


async def measure_fairness(port: int, greedy: str, modest: str) -> None:
    print(f"{'keys':12} {'modest kept':>12} {'greedy kept':>12}")
    for name, key in (("one each", greedy), ("one for both", modest)):
        most = await capacity(port, modest)
        many, few = await asyncio.gather(
            flood(port, key, 2.0 * most, 200, even=False),
            flood(port, modest, 0.1 * most, 20, even=True),
        )
        print(f"{name:12} {few[200] / few.total():12.1%} {many[200] / many.total():12.1%}")
    print(f"aim: the modest client keeps at least {LEAST:.0%} with a key of its own")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        made = [Key.make(f"client{number}", dict.fromkeys(ACTIONS, ("*",))) for number in range(ENTRIES)]
        write_keys(Path(folder, "keys.json"), {key.id: key for key, _ in made})
        guarded = {"keys_file": str(Path(folder, "keys.json"))}
        with serving({"off": {}, "keys": guarded, "header": {}, "off again": {}}) as (process, ports):
            asyncio.run(measure_cost(process, ports, made[ENTRIES // 2][1]))
        with serving({"keys": guarded | {"inline_threads": 1}}) as (_, ports):
            asyncio.run(measure_fairness(ports["keys"], made[0][1], made[1][1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
