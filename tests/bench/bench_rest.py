"""REST against the bare HTTP server: what a request costs over what HTTP itself costs.

Run it as a plain script. For each HTTP server and event loop there are two processes: one serves a bare ASGI
application that reads the body and answers with the very bytes that mlsrv answers with, the other serves
mlsrv with a model that gives its inputs back. Both get the same requests in turns, and what counts is
requests per second of processor time (user and system) of the serving process; load comes from wrk, if it is
installed, else from a small client. Rates depend on the machine, the ratio hardly does.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil

CONNECTIONS = 16
SECONDS = 1.0
ROUNDS = 9
AIMS = {("hypercorn", "asyncio"): 0.75, ("uvicorn", "asyncio"): 0.6}
PATH = "/v2/models/noop/infer"
REQUEST = b'{"id":"1","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
ANSWER = (
    b'{"model_name":"noop","id":"1",'
    b'"outputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
)

SERVER = """
import asyncio, signal, sys

kind, server, loop, answer = sys.argv[1:]

async def bare(stop, started):
    async def app(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    import socket
    body = answer.encode()
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    if server == "hypercorn":
        import hypercorn.asyncio, hypercorn.config
        config = hypercorn.config.Config()
        config.bind = [f"fd://{bound.detach()}"]
        config.keep_alive_max_requests = 10**9
        config.errorlog = None
        serving = hypercorn.asyncio.serve(app, config, shutdown_trigger=stop)
    else:
        import uvicorn
        made = uvicorn.Server(uvicorn.Config(
            app, lifespan="off", ws="none", http="httptools", log_config=None, proxy_headers=False
        ))
        made.install_signal_handlers = lambda: None
        serving = made.serve(sockets=[bound])
    started(f"http://127.0.0.1:{port}")
    await serving

async def ours(stop, started):
    import mlsrv, mlsrv_rest.plugin
    from mlsrv.testing import EchoModel
    settings = {"host": "127.0.0.1", "http_port": 0, "http_server": server}
    models = [mlsrv.ModelSettings(name="noop", implementation=EchoModel)]
    async with mlsrv.Kernel(settings, plugins=[mlsrv_rest.plugin], models=models, discover=False) as kernel:
        await kernel.loaded()
        await kernel.serve(stop, started=lambda: started(kernel.transports["rest"].endpoints[0]))

async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await {"bare": bare, "mlsrv": ours}[kind](ended.wait, lambda url: print(url, flush=True))

if loop == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


def main() -> int:
    print(
        f"requests per second of server CPU, {CONNECTIONS} connections, medians of {ROUNDS} x {SECONDS:g} s"
    )
    print(f"{'':24}{'bare':>10}{'mlsrv':>10}{'ratio':>8}{'aim':>7}{'us more':>10}")
    loops = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]
    for server, loop in [("hypercorn", "asyncio"), *(("uvicorn", loop) for loop in loops)]:
        with serving("bare", server, loop) as bare, serving("mlsrv", server, loop) as ours:
            load(bare[0], SECONDS)
            load(ours[0], SECONDS)
            rates = [(rate(*bare), rate(*ours)) for _ in range(ROUNDS)]
        # Each ratio is of two neighbouring runs: other work on the machine changes slowly.
        ratio = statistics.median(mine / theirs for theirs, mine in rates)
        theirs, mine = (statistics.median(column) for column in zip(*rates, strict=True))
        more = statistics.median(1e6 / mine - 1e6 / theirs for theirs, mine in rates)
        title = f"{server}, {loop}"
        aim = AIMS.get((server, loop), "")
        print(f"{title:24}{theirs:10.0f}{mine:10.0f}{ratio:8.2f}{aim:>7}{more:10.1f}", flush=True)
    return 0


@contextlib.contextmanager
def serving(kind: str, server: str, loop: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server in a process of its own: its URL and the process."""
    command = [sys.executable, "-c", SERVER, kind, server, loop, ANSWER.decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, f"the server {kind} {server} did not start"
            yield url + PATH, psutil.Process(process.pid)
        finally:
            process.kill()


def rate(url: str, server: psutil.Process) -> float:
    """Requests answered for each second that the server's process computed."""
    before = server.cpu_times()
    answered = load(url, SECONDS)
    after = server.cpu_times()
    return answered / (after.user + after.system - before.user - before.system)


def load(url: str, seconds: float) -> int:
    """Send requests over all connections for some time. Returns how many were answered."""
    return with_wrk(url, seconds) if shutil.which("wrk") else asyncio.run(with_sockets(url, seconds))


def with_wrk(url: str, seconds: float) -> int:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "post.lua")
        script.write_text(
            f"wrk.method = 'POST'\nwrk.body = {json.dumps(REQUEST.decode())}\n"
            "wrk.headers['content-type'] = 'application/json'\n"
            "done = function(summary) io.stderr:write(summary.requests, ' ',"
            " summary.errors.status + summary.errors.read + summary.errors.timeout) end\n",
            encoding="utf-8",
        )
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    answered, failed = map(int, done.stderr.split())
    assert failed == 0, f"{failed} requests failed"
    return answered


async def with_sockets(url: str, seconds: float) -> int:
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    message = f"{head}content-length: {len(REQUEST)}\r\n\r\n".encode() + REQUEST
    end = time.monotonic() + seconds

    async def connection() -> int:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        answered = 0
        while time.monotonic() < end:
            writer.write(message)
            answer = await reader.readuntil(b"]}]}")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            answered += 1
        writer.close()
        return answered

    return sum(await asyncio.gather(*(connection() for _ in range(CONNECTIONS))))


if __name__ == "__main__":
    sys.exit(main())
