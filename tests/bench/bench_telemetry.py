"""What telemetry costs: no-op inference over REST without any, with Prometheus, with tracing, and with the
access log, which is written to nowhere as the command line would write it.

Run it as a plain script. For each HTTP server there is one process with a kernel for each kind of telemetry,
loaded in short turns by one client; what counts are the requests that the process answers in a second of its
own CPU time, as a share of what it answers without telemetry in the same round. Two equal processes may be
several per cent apart, kernels of one process hardly are: "off again" shows by how much. A kernel with
Prometheus is scraped in every twentieth turn, that is every five seconds of load; the collector of traces is
not there, so that tracing is what the server itself has to do.
"""

import asyncio
import contextlib
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}).encode()
CONNECTIONS = 16
ROUNDS = 25
SECONDS = 0.25
SCRAPED = 20
REST = 0.15
"""Seconds for what a server does later: lines of the access log, spans."""

AIMS = {"Prometheus on": "0.95"}

OFF: dict[str, Any] = {"metrics_endpoint": None}
VARIANTS: dict[str, dict[str, Any]] = {
    "telemetry off": OFF,
    "off again": OFF,
    "Prometheus on": {"metrics_port": 0},
}
if importlib.util.find_spec("mlsrv_opentelemetry") is not None:
    tracing = OFF | {"tracing_server": "http://127.0.0.1:9"}
    VARIANTS["tracing 1%"] = tracing | {"tracing_sample_rate": 0.01}
    VARIANTS["tracing 100%"] = tracing | {"tracing_sample_rate": 1.0}
if importlib.util.find_spec("mlsrv_cli") is not None:
    VARIANTS["access log"] = OFF | {"access_log": True}

SERVER = """
import asyncio, contextlib, gc, json, logging, os, signal, sys, time
import mlsrv
from mlsrv.testing import EchoModel

def log_as_the_command_line_does():
    from mlsrv_cli.log_queue import LogQueue
    from mlsrv_cli.logs import RequestFilter, TextFormatter
    queue = LogQueue()
    handler = queue.output_handler(os.open(os.devnull, os.O_WRONLY), "the null device")
    handler.setFormatter(TextFormatter())
    handler.addFilter(RequestFilter())
    logging.getLogger("mlsrv.access").addHandler(handler)
    queue.start()
    logging.getLogger("mlsrv.access").setLevel(logging.INFO)

async def serve(stack, settings, ended):
    kernel = await stack.enter_async_context(
        mlsrv.Kernel(
            {"host": "127.0.0.1", "http_port": 0, "executor": "inline"} | settings,
            models=[mlsrv.ModelSettings(name="noop", implementation=EchoModel)],
            block=["grpc"],
        )
    )
    await kernel.loaded()
    started = asyncio.Event()
    serving = asyncio.create_task(kernel.serve(ended.wait, started.set))
    await started.wait()
    return serving, {name: transport.endpoints[0] for name, transport in kernel.transports.items()}

async def main():
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    variants = json.loads(sys.argv[2])
    logging.getLogger().addHandler(logging.NullHandler())
    if "access log" in variants:
        log_as_the_command_line_does()
    async with contextlib.AsyncExitStack() as stack:
        served = {
            name: await serve(stack, settings | {"http_server": sys.argv[1]}, ended)
            for name, settings in variants.items()
        }
        gc.collect()
        gc.freeze()  # as `mlsrv start` does
        print(json.dumps({name: urls for name, (_, urls) in served.items()}), flush=True)

        def tell_time():
            sys.stdin.readline()
            print(time.process_time(), flush=True)

        loop.add_reader(sys.stdin, tell_time)
        await ended.wait()

asyncio.run(main())
"""


@attrs.frozen
class Server:
    """A running server.

    Attributes:
        process: talks over its pipes.
        urls: of the transports of each kernel.
    """

    process: subprocess.Popen[str]
    urls: dict[str, dict[str, str]]

    def cpu_seconds(self) -> float:
        """What it has computed so far, as it says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main() -> int:
    print(
        f"requests per second of server CPU, {CONNECTIONS} connections, medians of {ROUNDS} x {SECONDS:g} s"
    )
    for http_server in ("hypercorn", "uvicorn"):
        print(f"\n{http_server:18}{'rate':>10}{'ratio':>8}{'aim':>7}{'us more':>10}")
        measure(http_server)
    return 0


def measure(http_server: str) -> None:
    """Measure every variant in turns, and print how each compares with the first in the same turn."""
    names = list(VARIANTS)
    rates: dict[str, list[float]] = {name: [] for name in names}
    with serving(http_server) as server:
        for name in names:
            rate(server, name, scraped=True)
        for number in range(ROUNDS):
            # Another one begins each round: whoever comes after the same one would always share its lot.
            first = number % len(names)
            for name in names[first:] + names[:first]:
                rates[name].append(rate(server, name, scraped=number % SCRAPED == 0))
    base = rates["telemetry off"]
    for name, found in rates.items():
        ratio = statistics.median(mine / off for mine, off in zip(found, base, strict=True))
        more = statistics.median(1e6 / mine - 1e6 / off for mine, off in zip(found, base, strict=True))
        aim = AIMS.get(name, "")
        print(f"{name:18}{statistics.median(found):10.0f}{ratio:8.3f}{aim:>7}{more:10.1f}", flush=True)


@contextlib.contextmanager
def serving(http_server: str) -> Iterator[Server]:
    """A server with a kernel for each variant."""
    command = [sys.executable, "-c", SERVER, http_server, json.dumps(VARIANTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, "the server did not start"
            yield Server(process, json.loads(line))
        finally:
            process.kill()


def rate(server: Server, variant: str, scraped: bool) -> float:
    """Requests answered for each second that the server's process computed."""
    before = server.cpu_seconds()
    answered = asyncio.run(load(server.urls[variant], scraped))
    time.sleep(REST)
    return answered / (server.cpu_seconds() - before)


async def load(urls: dict[str, str], scraped: bool) -> int:
    """Send requests over all connections for some time. Returns how many were answered."""
    end = time.monotonic() + SECONDS
    connections = [asyncio.create_task(ask(urls["rest"], end)) for _ in range(CONNECTIONS)]
    if scraped and "prometheus" in urls:
        async with httpx.AsyncClient() as client:
            (await client.get(urls["prometheus"])).raise_for_status()
    return sum(await asyncio.gather(*connections))


async def ask(url: str, end: float) -> int:
    """One connection's requests."""
    parts = urlsplit(url)
    head = (
        f"POST /v2/models/noop/infer HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-length: {len(BODY)}\r\n\r\n"
    )
    message = head.encode() + BODY
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    answered = 0
    while not answered or time.monotonic() < end:
        writer.write(message)
        answer = await reader.readuntil(b"]}]}")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        answered += 1
    writer.close()
    return answered


if __name__ == "__main__":
    sys.exit(main())
