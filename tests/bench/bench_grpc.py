"""gRPC against bare `grpc.aio`: what a call of a model that does nothing costs, over what gRPC itself costs.

Run it as a plain script. Of two processes one serves a bare handler that answers with the very bytes that
mlsrv answers with, the other serves mlsrv. Both get the same requests at the same time, one after the other
and 32 at once, and what counts is requests per second of processor time (user and system) of the serving
process; load comes from h2load, if it is installed, else from a small client. Rates depend on the machine,
the ratio hardly does. A second table is about large tensors: the processor time that the server takes for
one call, in turns, beside what it takes to read and write the same tensor as JSON, without any transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import grpc
import grpc.aio
import numpy as np
import psutil

from mlsrv_protocol import json
from mlsrv_protocol.grpc import encode_request
from mlsrv_protocol.types import InferenceRequest, RequestInput

STREAMS = {"1 stream": (1, 1), "32 streams": (8, 4)}
"""Connections, and calls at once on each of them."""
REQUESTS = 2000
ROUNDS = 7
AIM = 0.85
LARGE_ROUNDS = 10
LARGE_CALLS = 3
LARGE_AIM = 1.3
Serving = tuple[str, psutil.Process]
"""A URL and the process behind it."""

METHOD = "/inference.GRPCInferenceService/ModelInfer"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

SERVER = """
import asyncio, signal, sys

kind = sys.argv[1]

async def bare(stop, started):
    import grpc, grpc.aio
    async def echo(body, context):
        return answer.get(body, body)

    answer = {bytes.fromhex(a): bytes.fromhex(b) for a, b in zip(sys.argv[2::2], sys.argv[3::2], strict=True)}
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.aio.server(options=options)
    methods = {"ModelInfer": grpc.unary_unary_rpc_method_handler(echo)}
    handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    started(f"grpc://127.0.0.1:{port}")
    await stop()
    await server.stop(0)

async def ours(stop, started):
    import gc, mlsrv, mlsrv_grpc.plugin
    from mlsrv.testing import EchoModel
    settings = {"host": "127.0.0.1", "grpc_port": 0}
    models = [mlsrv.ModelSettings(name="noop", implementation=EchoModel)]
    async with mlsrv.Kernel(settings, plugins=[mlsrv_grpc.plugin], models=models, discover=False) as kernel:
        await kernel.loaded()
        gc.collect()
        gc.freeze()  # as `mlsrv start` does
        await kernel.serve(stop, started=lambda: started(kernel.transports["grpc"].endpoints[0]))

async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await {"bare": bare, "mlsrv": ours}[kind](ended.wait, lambda url: print(url, flush=True))

try:
    import uvloop  # as `mlsrv start` does, where it is installed
except ModuleNotFoundError:
    asyncio.run(main())
else:
    uvloop.run(main())
"""


def main() -> int:
    small = np.array([5.1, 3.5, 1.4, 0.2], np.float32)
    print(f"requests per second of server CPU, medians of {ROUNDS} x {REQUESTS}")
    print(f"{'':24}{'bare':>10}{'mlsrv':>10}{'ratio':>8}{'aim':>7}{'us more':>10}")
    questions = {form: question(small, typed=form == "typed") for form in ("raw", "typed")}
    with serving("mlsrv") as ours:
        answers = {form: ask(ours[0], body) for form, body in questions.items()}
        pairs = [part.hex() for form in questions for part in (questions[form], answers[form])]
        with serving("bare", *pairs) as bare:
            for form, body in questions.items():
                assert ask(bare[0], body) == answers[form]
            for name, streams in STREAMS.items():
                for form, body in questions.items():
                    rates = [at_once(bare, ours, body, answers[form], *streams) for _ in range(ROUNDS)]
                    slow, fast = (statistics.median(column) for column in zip(*rates, strict=True))
                    ratio = statistics.median(with_mlsrv / without for without, with_mlsrv in rates)
                    more = (1 / ratio - 1) / slow * 1e6
                    title = f"{name}, {form}"
                    print(f"{title:24}{slow:10.0f}{fast:10.0f}{ratio:8.2f}{AIM:7.2f}{more:10.1f}")
            print()
            columns = f"{'bare echo':>10}{'raw':>10}{'typed':>10}{'JSON alone':>12}{'raw/bare':>10}{'aim':>7}"
            print(f"{'CPU milliseconds a call':24}{columns}")
            for mebibytes in (4, 20):
                large(mebibytes, bare, ours)
    return 0


def large(mebibytes: int, bare: Serving, ours: Serving) -> None:
    """One line about FP32 tensors of some size."""
    array = np.random.default_rng(1).random(mebibytes * 2**18, np.float32)
    raw, typed = question(array), question(array, typed=True)
    text = json.encode_request(request(array))
    own = psutil.Process()
    with connected(bare[0]) as bare_infer, connected(ours[0]) as infer:
        times = computed(
            [
                (bare[1], lambda: bare_infer(raw)),
                (ours[1], lambda: infer(raw)),
                (ours[1], lambda: infer(typed)),
                (own, lambda: json.encode_request(json.decode_request(text))),
            ]
        )
    row = "".join(f"{figure:10.1f}" for figure in times[:3])
    title, ratio = f"{mebibytes} MiB of FP32", times[1] / times[0]
    print(f"{title:24}{row}{times[3]:12.1f}{ratio:10.2f}{LARGE_AIM:7.2f}")


def request(array: np.ndarray) -> InferenceRequest:
    tensor = RequestInput(name="x", shape=[1, len(array)], datatype="FP32", data=array)
    return InferenceRequest(inputs=[tensor], id="1", model_name="noop")


def question(array: np.ndarray, *, typed: bool = False) -> bytes:
    return encode_request(request(array), typed=typed)


def computed(calls: list[tuple[psutil.Process, Callable[[], object]]]) -> list[float]:
    """Milliseconds that the process beside each call computes for it: all are called in turns, several times
    in a row, since times of processes are counted in steps of 10 ms."""
    found = [0.0] * len(calls)
    for _, call in calls:
        call()
    for _ in range(LARGE_ROUNDS):
        for at, (process, call) in enumerate(calls):
            before = sum(process.cpu_times()[:2])
            for _ in range(LARGE_CALLS):
                call()
            found[at] += sum(process.cpu_times()[:2]) - before
    return [seconds / LARGE_ROUNDS / LARGE_CALLS * 1000 for seconds in found]


@contextlib.contextmanager
def connected(url: str) -> Iterator[Callable[[bytes], bytes]]:
    """Makes calls over one connection."""
    with grpc.insecure_channel(urlsplit(url).netloc, options=OPTIONS) as channel:
        yield channel.unary_unary(METHOD)


def ask(url: str, body: bytes) -> bytes:
    """One call, in a connection of its own."""
    with connected(url) as infer:
        return infer(body)


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Serving]:
    """A server in a process of its own: its URL and the process."""
    command = [sys.executable, "-c", SERVER, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, f"the server {arguments[0]} did not start"
            yield url, psutil.Process(process.pid)
        finally:
            process.kill()


def at_once(
    bare: Serving, ours: Serving, body: bytes, answer: bytes, connections: int, calls: int
) -> tuple[float, float]:
    """The rates of both servers, measured at the same time: whatever disturbs one disturbs the other."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(rate, *bare, body, answer, connections, calls)
        second = pool.submit(rate, *ours, body, answer, connections, calls)
        return first.result(), second.result()


def rate(url: str, server: psutil.Process, body: bytes, answer: bytes, connections: int, calls: int) -> float:
    """Requests answered for each second that the server's process computed."""
    load(url, body, answer, REQUESTS // 10, connections, calls)
    before = server.cpu_times()
    load(url, body, answer, REQUESTS, connections, calls)
    after = server.cpu_times()
    return REQUESTS / (after.user + after.system - before.user - before.system)


def load(url: str, body: bytes, answer: bytes, count: int, connections: int, calls: int) -> None:
    """Send requests over all connections, some calls at once on each; each must be answered."""
    address = urlsplit(url).netloc
    if shutil.which("h2load"):
        with_h2load(address, body, answer, count, connections, calls)
    else:
        asyncio.run(with_channels(address, body, answer, count, connections, calls))


def with_h2load(address: str, body: bytes, answer: bytes, count: int, connections: int, calls: int) -> None:
    headers = ["-H", "te: trailers", "-H", "content-type: application/grpc"]
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0" + struct.pack(">I", len(body)) + body)
        file.flush()
        command = ["h2load", f"-n{count}", f"-c{connections}", f"-m{calls}", "-d", file.name, *headers]
        command.append(f"http://{address}{METHOD}")
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    size = count * (len(answer) + 5)
    assert f"status codes: {count} 2xx" in done.stdout, done.stdout
    assert f"({size}) data" in done.stdout, done.stdout


async def with_channels(
    address: str, body: bytes, answer: bytes, count: int, connections: int, calls: int
) -> None:
    async def one(channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary(METHOD)
        for _ in range(count // connections // calls):
            assert await call(body) == answer

    # Otherwise all channels would share one connection.
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=own))
            for _ in range(connections)
        ]
        await asyncio.gather(*(one(channel) for channel in channels for _ in range(calls)))


if __name__ == "__main__":
    raise SystemExit(main())
