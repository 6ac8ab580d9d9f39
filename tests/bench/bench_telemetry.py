"""What telemetry costs: no-op inference over REST without any, with Prometheus, with tracing, and with the
access log, which is written to nowhere as the command line would write it.

Run it as a plain script. Each server is a process of its own, loaded in turns by one client; what counts are
the requests that a server answers in a second of its own CPU time, as a share of what it answers without
telemetry: others on the machine disturb that least. "off again" shows how far two equal servers are apart. A
server with Prometheus is scraped in every fifth turn, that is every five seconds of load; the collector of
traces is not there, so that tracing is what the server itself has to do.
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
import psutil

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}).encode()
CONNECTIONS = 16
ROUNDS = 20
SECONDS = 1.0
SCRAPED = 5
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
    VARIANTS["access log as JSON"] = OFF | {"access_log": True, "use_structured_logging": True}

SERVER = """
import asyncio, gc, json, logging, os, signal, sys
import mlsrv
from mlsrv.testing import EchoModel

def log_as_the_command_line_does(structured):
    from mlsrv_cli.logs import GatheringHandler, JsonFormatter, RequestFilter, TextFormatter
    handler = GatheringHandler(open(os.devnull, "w"))
    handler.setFormatter(JsonFormatter() if structured else TextFormatter())
    handler.addFilter(RequestFilter())
    logging.getLogger("mlsrv.access").addHandler(handler)
    logging.getLogger("mlsrv.access").setLevel(logging.INFO)

async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    settings = {"host": "127.0.0.1", "http_port": 0, "executor": "inline"} | json.loads(sys.argv[2])
    if settings.get("access_log"):
        log_as_the_command_line_does(settings.get("use_structured_logging"))
    else:
        logging.disable()
    models = [mlsrv.ModelSettings(name="noop", implementation=EchoModel)]
    async with mlsrv.Kernel(settings | {"http_server": sys.argv[1]}, models=models, block=["grpc"]) as kernel:
        await kernel.loaded()
        gc.collect()
        gc.freeze()  # as `mlsrv start` does
        def tell():
            print(json.dumps({name: one.endpoints[0] for name, one in kernel.transports.items()}), flush=True)
        await kernel.serve(ended.wait, tell)

asyncio.run(main())
"""


@attrs.frozen
class Server:
    """A running server: its process, and the URLs of its transports."""

    process: psutil.Process
    urls: dict[str, str]


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
    rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(serving(http_server, settings)) for name, settings in VARIANTS.items()
        }
        for server in servers.values():
            asyncio.run(load(server, scraped=True))
        for number in range(ROUNDS):
            for name, server in servers.items():
                rates[name].append(rate(server, scraped=number % SCRAPED == 0))
    base = rates["telemetry off"]
    for name, found in rates.items():
        ratio = statistics.median(mine / off for mine, off in zip(found, base, strict=True))
        more = statistics.median(1e6 / mine - 1e6 / off for mine, off in zip(found, base, strict=True))
        aim = AIMS.get(name, "")
        print(f"{name:18}{statistics.median(found):10.0f}{ratio:8.3f}{aim:>7}{more:10.1f}", flush=True)


@contextlib.contextmanager
def serving(http_server: str, settings: dict[str, Any]) -> Iterator[Server]:
    """A server in a process of its own."""
    command = [sys.executable, "-c", SERVER, http_server, json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the server with {settings} did not start"
            yield Server(psutil.Process(process.pid), json.loads(line))
        finally:
            process.kill()


def rate(server: Server, scraped: bool) -> float:
    """Requests answered for each second that the server's process computed."""
    before = server.process.cpu_times()
    answered = asyncio.run(load(server, scraped))
    after = server.process.cpu_times()
    return answered / (after.user + after.system - before.user - before.system)


async def load(server: Server, scraped: bool) -> int:
    """Send requests over all connections for some time. Returns how many were answered."""
    end = time.monotonic() + SECONDS
    connections = [asyncio.create_task(ask(server.urls["rest"], end)) for _ in range(CONNECTIONS)]
    if scraped and "prometheus" in server.urls:
        async with httpx.AsyncClient() as client:
            (await client.get(server.urls["prometheus"])).raise_for_status()
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
