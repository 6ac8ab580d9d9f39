"""The log of a server that has a hard time: each line is JSON, and each failed request is there just once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from attrs import define, field

from mlsrv.testing import text_request
from mlsrv_protocol.grpc import encode_request, message_class

LIMIT = 60.0
NASTY = 'quote " brace } newline \n tab \t null \x00 surrogate \ud800 escape \x1b[31m ☃ 😀'
SERVICE = "/inference.GRPCInferenceService"

MODEL = """
import logging, os, threading, warnings
import mlsrv
from mlsrv.handlers import custom_handler
from mlsrv.types import InferenceResponse, ResponseOutput

NASTY = TEXT
logger = logging.getLogger("mine")

def answer(shape):
    return InferenceResponse(outputs=[ResponseOutput("y", shape, "FP32", [1.0] * 2)])

class Noisy(mlsrv.MLModel):
    def load(self):
        logger.warning("loading")
        print("mine: loading")
        return True

    def predict(self, payload):
        (what, *_) = payload.inputs[0].data
        what = what.decode() if isinstance(what, bytes) else what
        if what == "raise":
            raise ValueError(NASTY)
        if what == "type":
            return {"not": "a response"}
        if what == "unsendable":
            return answer([3])
        if what == "exit":
            os._exit(9)
        print("mine: a line that ", end="")
        logger.info("%s %s", NASTY, what, extra={"thing": object(), "nan": float("nan")})
        warnings.warn(NASTY)
        thread = threading.Thread(target=int, args=("no number",))
        thread.start()
        thread.join()
        print("has an end")
        return answer([2])

    async def predict_stream(self, payloads):
        async for _ in payloads:
            yield answer([2])
            raise ValueError(NASTY)

    @custom_handler("/fail")
    def fail(self):
        raise ValueError(NASTY)
""".replace("TEXT", repr(NASTY))


@define
class Noise:
    """A running server, its clients, and the ids under which they were told of failures."""

    rest: str
    channel: grpc.Channel
    failed: list[str] = field(factory=list)
    refused: list[str] = field(factory=list)

    def post(self, path: str, texts: list[str], request_id: str | None = None) -> httpx.Response:
        tensor = {"name": "x", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
        body = {"inputs": [tensor]} | ({"id": request_id} if request_id else {})
        response = httpx.post(f"{self.rest}/v2/models/{path}", json=body, timeout=LIMIT)
        if response.status_code != 200:
            told = self.failed if response.status_code == 500 else self.refused
            told.append(response.headers["x-request-id"])
        return response

    def call(self, model: str, text: str, request_id: str | None = None) -> None:
        body = encode_request(text_request(model, [text], id=request_id), typed=False)
        try:
            self.channel.unary_unary(f"{SERVICE}/ModelInfer")(body, timeout=LIMIT)
        except grpc.RpcError as error:
            told = self.failed if error.code() is grpc.StatusCode.INTERNAL else self.refused
            told.append(dict(error.trailing_metadata())["x-request-id"])

    def converse(self, model: str, *texts: str) -> None:
        bodies = [encode_request(text_request(model, [text]), typed=False) for text in texts]
        answers = self.channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(iter(bodies), timeout=LIMIT)
        for body in answers:
            answer = message_class("inference.ModelStreamInferResponse").FromString(body)
            if answer.error_message:
                self.failed.append(answer.infer_response.id)


def settings(name: str, **more: Any) -> str:
    return json.dumps({"name": name, "implementation": "noisy.Noisy", "parameters": {"version": "v1"}} | more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models that make noise, one of them in batches."""
    for name, more in (("noisy", {}), ("joined", {"max_batch_size": 4, "max_batch_time": 0.05})):
        place = tmp_path / "models" / name
        place.mkdir(parents=True)
        (place / "noisy.py").write_text(MODEL)
        (place / "model-settings.json").write_text(settings(name, **more))
    return tmp_path / "models"


@pytest.fixture
def serve(folder: Path, tmp_path: Path) -> Iterator[Any]:
    """Runs a server with JSON lines and an access log for as long as `work` takes; returns its lines."""
    running: list[subprocess.Popen[bytes]] = []

    def run(work: Any, *options: str) -> tuple[Noise, list[str]]:
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            ports = one.getsockname()[1], two.getsockname()[1]
        command = [sys.executable, "-m", "mlsrv_cli", "start", str(folder), "--host=127.0.0.1"]
        command += [f"--http-port={ports[0]}", f"--grpc-port={ports[1]}", "--log-format=json", "--access-log"]
        command += ["--block=prometheus", "--block=kafka", "--block=mlsrv-mlserver", *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLS")}
        with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        running.append(process)
        with grpc.insecure_channel(f"127.0.0.1:{ports[1]}") as channel:
            noise = Noise(f"http://127.0.0.1:{ports[0]}", channel)
            _wait_until_ready(process, noise)
            work(noise)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
        return noise, (tmp_path / "out").read_bytes().decode().split("\n")

    yield run
    for process in running:
        process.kill()
        process.wait(LIMIT)


def _wait_until_ready(process: subprocess.Popen[bytes], noise: Noise) -> None:
    end = time.monotonic() + LIMIT
    while True:
        try:
            if httpx.get(f"{noise.rest}/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < end, "the server does not become ready"
        time.sleep(0.05)


def make_noise(noise: Noise, *, workers: bool) -> None:
    for model in ("noisy", "joined"):
        for what in ("fine", "raise", "type", "unsendable"):
            noise.post(f"{model}/infer", [what], f"{model}-{what}")
            noise.post(f"{model}/versions/v1/infer", [what])
            noise.call(model, what, f"{model}-{what}-grpc")
            noise.call(model, what)
        noise.post(f"{model}/fail", [])
        noise.converse(model, "raise")
        broken = noise.post(f"{model}/infer_stream", ["raise"], f"{model}-stream").text
        assert '"error"' in broken
        noise.failed.append(f"{model}-stream")  # the response before the error has told it
    noise.post("unknown/infer", ["fine"], "of-nobody")
    assert httpx.post(f"{noise.rest}/v2/models/noisy/infer", content=b"{").status_code == 400
    address = noise.rest.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=LIMIT) as connection:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        connection.recv(1000)
    if workers:
        noise.post("noisy/infer", ["exit"], "deadly")
        noise.call("noisy", "exit", "deadly-grpc")


@pytest.mark.parametrize(("server", "workers"), [("hypercorn", 0), ("uvicorn", 2)])
def test_a_noisy_run(serve: Any, server: str, workers: int) -> None:
    noise, lines = serve(
        lambda noise: make_noise(noise, workers=workers > 0),
        f"--http-server={server}",
        f"--parallel-workers={workers}",
    )
    assert lines.pop() == ""
    ours = [json.loads(line, parse_constant=pytest.fail) for line in lines if not line.startswith("mine: ")]
    assert all({"time", "name", "level", "message"} <= line.keys() for line in ours)
    printed = Counter(line for line in lines if line.startswith("mine: "))
    assert printed.keys() == {"mine: loading", "mine: a line that has an end"}
    assert printed["mine: a line that has an end"] == 8

    ended = [line for line in ours if line["message"].startswith("The thread ")]
    assert len(ended) == 8
    assert all("invalid literal for int()" in line["exception"] for line in ended)
    failures = [line for line in ours if line["name"] == "mlsrv.requests" and line not in ended]
    assert Counter(line["request_id"] for line in failures) == Counter(noise.failed)
    assert all(line["exception"] and line["level"] == "ERROR" for line in failures)
    assert len(noise.failed) == 2 * (3 * 4 + 3) + (2 if workers else 0)
    assert [line for line in ours if "exception" in line and line not in failures + ended] == []
    assert not set(noise.refused) & {line.get("request_id") for line in ours if "exception" in line}

    said = [line for line in ours if line["name"] == "mine" and line["message"] != "loading"]
    assert len(said) == 8
    assert all(line["message"].startswith(NASTY) for line in said)
    assert {(line["model_name"], line["model_version"]) for line in said} == {
        ("noisy", "v1"),
        ("joined", "v1"),
    }
    assert {"noisy-fine", "noisy-fine-grpc", "joined-fine"} <= {line["request_id"] for line in said}
    if workers:
        assert {line["worker"] for line in said} <= {1, 2}
    loading = [line for line in ours if line["message"] == "loading"]
    assert {line["model_name"] for line in loading} == {"noisy", "joined"}

    accesses = [line for line in ours if line["name"] == "mlsrv.access"]
    logged = {line["request_id"] for line in accesses if "request_id" in line}
    assert {one for one in noise.failed if one != ""} - logged <= {"noisy-stream"}
