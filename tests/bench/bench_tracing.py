"""Tracing: what it costs a request over REST, by the share of requests that are recorded.

Run it as a plain script. Each server is a process of its own, all get the same requests in turns, and what
counts is requests per second of processor time (user and system) of the serving process, its thread that
sends spans included. The collector is a real one, in this process.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
from bench_rest import PATH, load, rate

sys.path.append(str(Path(__file__).parents[1] / "support"))

from collector import grpc_collector

ROUNDS = 7
SETTINGS: dict[str, dict[str, object]] = {
    "not installed": {},
    "installed, off": {"tracing_server": None},
    "recording none": {"tracing_sample_rate": 0.0},
    "recording 1%": {"tracing_sample_rate": 0.01},
    "recording 100%": {"tracing_sample_rate": 1.0},
}

SERVER = """
import asyncio, gc, json, signal, sys
import mlsrv, mlsrv_rest.plugin
from mlsrv.testing import EchoModel

settings = json.loads(sys.argv[1])
plugins = [mlsrv_rest.plugin]
if settings:
    import mlsrv_opentelemetry.plugin
    plugins.append(mlsrv_opentelemetry.plugin)

async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    values = {"host": "127.0.0.1", "http_port": 0, "executor": "inline"} | settings
    models = [mlsrv.ModelSettings(name="noop", implementation=EchoModel)]
    async with mlsrv.Kernel(values, plugins=plugins, models=models, discover=False) as kernel:
        await kernel.loaded()
        gc.collect()
        gc.freeze()  # as `mlsrv start` does
        url = lambda: print(kernel.transports["rest"].endpoints[0], flush=True)
        await kernel.serve(ended.wait, started=url)

asyncio.run(main())
"""


def main() -> int:
    print(f"requests per second of server CPU, hypercorn, medians of {ROUNDS} rounds")
    print(f"{'tracing':18}{'rate':>10}{'ratio':>8}{'us more':>10}")
    with contextlib.ExitStack() as stack:
        # Whoever answers nothing keeps the least of this process from the load.
        collector = stack.enter_context(grpc_collector(take=lambda request: None))
        servers = {}
        for title, settings in SETTINGS.items():
            given = {"tracing_server": collector.url} | settings if settings else {}
            servers[title] = stack.enter_context(serving(given))
            load(servers[title][0], 1.0)
        rounds = [{title: rate(*server) for title, server in servers.items()} for _ in range(ROUNDS)]
    for title in SETTINGS:
        found = statistics.median(row[title] for row in rounds)
        # Each ratio is of two neighbouring runs: other work on the machine changes slowly.
        ratio = statistics.median(row[title] / row["not installed"] for row in rounds)
        more = statistics.median(1e6 / row[title] - 1e6 / row["not installed"] for row in rounds)
        print(f"{title:18}{found:10.0f}{ratio:8.2f}{more:10.1f}", flush=True)
    return 0


@contextlib.contextmanager
def serving(settings: dict[str, object]) -> Iterator[tuple[str, psutil.Process]]:
    """A server in a process of its own: its URL and the process."""
    command = [sys.executable, "-c", SERVER, json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, "the server did not start"
            yield url + PATH, psutil.Process(process.pid)
        finally:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
