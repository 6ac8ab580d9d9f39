"""A tensor of 4 MiB there and back: as JSON, over the binary extension, and over gRPC raw.

Run it as a plain script. The first table is the wire step alone: reading the request and writing the
response in one process, where the aim is that binary is at least 20 times as fast as our own JSON. The
second is end to end: a server in a process of its own, whose model gives its input back, and a client that
sends and receives bytes over one connection. There, "bare" is a server of the same kind that reads the body
and answers with it: what moving the bytes costs, whatever they mean. Figures are milliseconds for one
request, medians taken in turns; times depend on the machine, ratios hardly do.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

import grpc
import numpy as np
import psutil

from mlsrv_protocol import binary, json
from mlsrv_protocol.grpc import decode_request, decode_response, encode_request, encode_response
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput

ELEMENTS = 1_048_576
REPEATS = 15
AIM = 20
HEADER = "Inference-Header-Content-Length"
PATH = "/v2/models/echo/infer"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

SERVER = """
import asyncio, socket, sys

kind, server = sys.argv[1:]

async def app(scope, receive, send):
    body = bytearray()
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(body)})

async def bare():
    if server == "grpc":
        import grpc, grpc.aio
        async def echo(body, context):
            return body
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        made = grpc.aio.server(options=options)
        methods = {"ModelInfer": grpc.unary_unary_rpc_method_handler(echo)}
        handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
        made.add_generic_rpc_handlers((handler,))
        port = made.add_insecure_port("127.0.0.1:0")
        await made.start()
        print(f"grpc://127.0.0.1:{port}", flush=True)
        await asyncio.Event().wait()
    bound = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True)
    if server == "hypercorn":
        import hypercorn.asyncio, hypercorn.config
        config = hypercorn.config.Config()
        config.bind = [f"fd://{bound.detach()}"]
        config.errorlog = None
        await hypercorn.asyncio.serve(app, config, shutdown_trigger=asyncio.Event().wait)
    import uvicorn
    config = uvicorn.Config(app, lifespan="off", ws="none", http="httptools", log_config=None)
    await uvicorn.Server(config).serve(sockets=[bound])

async def ours():
    import mlsrv, mlsrv_grpc.plugin, mlsrv_rest.plugin
    from mlsrv.testing import EchoModel
    http = "hypercorn" if server == "grpc" else server
    settings = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "http_server": http}
    models = [mlsrv.ModelSettings(name="echo", implementation=EchoModel)]
    plugins = [mlsrv_grpc.plugin, mlsrv_rest.plugin]
    wanted = "grpc" if server == "grpc" else "rest"
    async with mlsrv.Kernel(settings, plugins=plugins, models=models, discover=False) as kernel:
        await kernel.loaded()
        await kernel.serve(
            asyncio.Event().wait,
            started=lambda: print(kernel.transports[wanted].endpoints[0], flush=True),
        )

asyncio.run({"bare": bare, "mlsrv": ours}[kind]())
"""

Call = Callable[[], bytes]


def main() -> int:
    array = np.random.default_rng(0).random((1, ELEMENTS), dtype=np.float32)
    request = InferenceRequest([RequestInput("x", [1, ELEMENTS], "FP32", array)], "1", model_name="echo")
    response = InferenceResponse("echo", [ResponseOutput("x", [1, ELEMENTS], "FP32", array)], id="1")
    wire(request, response)
    end_to_end(request, array)
    return 0


def wire(request: InferenceRequest, response: InferenceResponse) -> None:
    text = json.encode_request(request)
    length, pieces = binary.encode_request(request)
    octets = b"".join(pieces)
    message = encode_request(request)

    def join_response() -> None:
        b"".join(binary.encode_response(response, binary.ALL)[1])

    figures = turns(
        [
            lambda: json.decode_request(text),
            lambda: json.encode_response(response),
            lambda: binary.decode_request(octets, length),
            join_response,
            lambda: decode_request(message),
            lambda: encode_response(response, typed=False),
        ]
    )
    print(f"the wire step alone, {len(octets) / 2**20:.0f} MiB of FP32, milliseconds")
    print(f"{'':24}{'in':>10}{'out':>10}{'sum':>10}{'JSON / this':>14}{'aim':>8}")
    by_json = figures[0] + figures[1]
    for name, into, out in zip(("JSON", "binary", "gRPC raw"), figures[::2], figures[1::2], strict=True):
        aim = "" if name == "JSON" else AIM
        ratio = by_json / (into + out)
        print(f"{name:24}{into:10.2f}{out:10.2f}{into + out:10.2f}{ratio:14.1f}{aim:>8}")
    print()


def end_to_end(request: InferenceRequest, array: np.ndarray) -> None:
    length, pieces = binary.encode_request(binary_wanted(request))
    octets = b"".join(pieces)
    text = json.encode_request(request)
    print("end to end over one connection, milliseconds a request; CPU is the server's")
    columns = ("bare", "binary", "JSON", "JSON / binary", "over bare", "bare CPU", "binary CPU")
    print(f"{'':24}" + "".join(f"{column:>15}" for column in columns))
    for server in ("hypercorn", "uvicorn"):
        with serving("bare", server) as bare, serving("mlsrv", server) as ours:
            with connected(bare[0]) as plain, connected(ours[0]) as http:
                answer = http(octets, {HEADER: str(length)})
                assert answer.endswith(array.tobytes()), "the tensor came back changed"
                calls = [
                    lambda: plain(octets, {}),
                    lambda: http(octets, {HEADER: str(length)}),
                    lambda: http(text, {}),
                ]
                row(server, calls, bare[1], ours[1])
    message = encode_request(request)
    with serving("bare", "grpc") as bare, serving("mlsrv", "grpc") as ours:
        with called(bare[0]) as plain_call, called(ours[0]) as call:
            found = decode_response(call(message)).outputs[0].data
            assert np.array_equal(found, array[0]), "the tensor came back changed"
            row("gRPC raw", [lambda: plain_call(message), lambda: call(message)], bare[1], ours[1])


def row(name: str, calls: Sequence[Call], bare: psutil.Process, ours: psutil.Process) -> None:
    figures = turns(calls)
    plain, raw = figures[:2]
    computed = [processor(calls[0], bare), processor(calls[1], ours)]
    by_json = f"{figures[2]:15.1f}{figures[2] / raw:15.1f}" if len(figures) > 2 else " " * 30
    print(
        f"{name:24}{plain:15.1f}{raw:15.1f}{by_json}{raw / plain:15.2f}{computed[0]:15.1f}{computed[1]:15.1f}"
    )


def binary_wanted(request: InferenceRequest) -> InferenceRequest:
    """The same request, with the parameter that asks for binary outputs."""
    return InferenceRequest(request.inputs, request.id, {"binary_data_output": True})


def processor(call: Call, server: psutil.Process) -> float:
    """Milliseconds that the server computes for one call."""
    before = server.cpu_times()
    for _ in range(REPEATS):
        call()
    after = server.cpu_times()
    return (after.user + after.system - before.user - before.system) * 1000 / REPEATS


def turns(calls: Sequence[Callable[[], object]]) -> list[float]:
    """The median milliseconds of each call, called in turns so that a busy moment hits all of them."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(REPEATS + 2):
        for call, found in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            found.append((time.perf_counter() - started) * 1000)
    return [statistics.median(found[2:]) for found in times]


@contextlib.contextmanager
def connected(url: str) -> Iterator[Callable[[bytes, dict[str, str]], bytes]]:
    """Sends bodies over one HTTP connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def post(body: bytes, headers: dict[str, str]) -> bytes:
        connection.request("POST", PATH, body, headers)
        answer = connection.getresponse()
        found = answer.read()
        assert answer.status == 200, found[:500]
        return found

    with contextlib.closing(connection):
        yield post


@contextlib.contextmanager
def called(url: str) -> Iterator[Callable[[bytes], bytes]]:
    """Makes calls over one gRPC channel."""
    with grpc.insecure_channel(urlsplit(url).netloc, options=UNLIMITED) as channel:
        yield channel.unary_unary(METHOD)


@contextlib.contextmanager
def serving(kind: str, server: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server in a process of its own: its URL and the process."""
    command = [sys.executable, "-c", SERVER, kind, server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, f"the server {kind} {server} did not start"
            yield url, psutil.Process(process.pid)
        finally:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
