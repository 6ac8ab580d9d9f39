"""``mlsrv infer`` against a real server, over REST and gRPC."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlsrv import MLModel, ModelSettings
from mlsrv.errors import InvalidPayload
from mlsrv.testing import EchoModel
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput
from served import Served, served

LIMIT = 60.0


class Sum(MLModel):
    """Sums each row of a matrix of four columns; refuses negative numbers, and counts its calls."""

    calls = 0
    rows = 0

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        table = payload.inputs[0].data.reshape(payload.inputs[0].shape)
        type(self).calls += 1
        if (table < 0).any():
            raise InvalidPayload("a number is negative")
        type(self).rows += len(table)
        sums = table.sum(axis=1)
        return InferenceResponse(outputs=[ResponseOutput("sum", list(sums.shape), "FP64", sums)])


class Describe(MLModel):
    """Says what the inputs age (INT64), name (BYTES) and scores (FP32, two of them) are."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        age, name, scores = payload.inputs
        told = [
            f"{_text(n)} {a} {s.tolist()}"
            for n, a, s in zip(name.data, age.data, scores.data.reshape(-1, 2), strict=True)
        ]
        return InferenceResponse(outputs=[ResponseOutput("told", [len(told)], "BYTES", told)])


class Once(MLModel):
    """Answers with one number, however many rows there are."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(outputs=[ResponseOutput("rows", [1], "INT64", [payload.inputs[0].shape[0]])])


class Picture(MLModel):
    """Answers with the shape and the mean of an image."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        values = [*tensor.shape, round(float(tensor.data.mean()))]
        return InferenceResponse(outputs=[ResponseOutput("seen", [1, 5], "INT64", values)])


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _inputs(**declared: tuple[str, list[int]]) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in declared.items()]


MODELS = [
    ModelSettings(name="sum", implementation=Sum, inputs=_inputs(row=("FP64", [-1, 4]))),
    ModelSettings(
        name="describe",
        implementation=Describe,
        inputs=_inputs(age=("INT64", [-1]), name=("BYTES", [-1]), scores=("FP32", [-1, 2])),
    ),
    ModelSettings(name="picture", implementation=Picture, inputs=_inputs(image=("UINT8", [-1, 3, -1, -1]))),
    ModelSettings(name="once", implementation=Once, inputs=_inputs(x=("INT64", [-1, 1]))),
    ModelSettings(name="echo", implementation=EchoModel),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """The models above, served from a thread for all tests of this module."""
    found: list[Served] = []
    listening = threading.Event()
    ended: list[asyncio.Event] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        ended.append(asyncio.Event())
        loops.append(asyncio.get_running_loop())
        async with served(MODELS, executor="inline") as one:
            found.append(one)
            listening.set()
            await ended[0].wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert listening.wait(LIMIT)
    yield found[0]
    loops[0].call_soon_threadsafe(ended[0].set)
    thread.join(LIMIT)


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, server: Served) -> str:
    return server.rest if request.param == "http" else f"grpc://{server.grpc}"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "table.csv"
    file.write_text("﻿a,b,c,d\r\n1,2,3,4\r\n5,6,7,8\r\n-1,0,0,0\r\n0,0,0,\r\n", encoding="utf-8")
    return file


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_rows_of_csv_become_a_matrix_and_a_bad_row_fails_alone(url, mlsrv, table: Path, batch: int) -> None:
    done = mlsrv("infer", "sum", table, "--url", url, "--values", "--batch", batch)
    assert done.returncode == 1
    lines = lines_of(done.stdout)
    assert lines[:2] == [{"sum": 10.0}, {"sum": 26.0}]
    assert lines[2]["error"].startswith("line 4: ")
    assert "a number is negative" in lines[2]["error"]
    assert lines[3] == {"sum": None}  # an empty cell is NaN
    assert done.stderr.startswith("3 answered, 1 failed in ")


def test_responses_are_those_of_the_protocol_with_the_ids_of_the_requests(url, mlsrv, tmp_path: Path) -> None:
    tensor = {"name": "row", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}
    requests = [{"id": f"r{number}", "inputs": [tensor]} for number in range(5)]
    file = tmp_path / "requests.jsonl"
    file.write_text("\n\n".join(map(json.dumps, requests)))
    done = mlsrv("infer", "sum", file, "--url", url, "-b", 2, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    found = lines_of(done.stdout)
    assert [line["id"] for line in found] == ["r0", "r1", "r2", "r3", "r4"]
    assert found[0]["model_name"] == "sum"
    assert found[0]["outputs"][0]["data"] == [10.0]
    file.with_suffix(".json").write_text(json.dumps(requests))
    again = mlsrv("infer", "sum", file.with_suffix(".json"), "--url", url, "-q", "--json")
    assert lines_of(again.stdout) == found


def test_rows_are_sent_by_name_in_the_declared_datatypes(url, mlsrv, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {"name": ["Ada", "Bob"], "age": [36, 41], "scores": [[1.5, 2.0], [0.0, 4.25]], "more": [1, 2]}
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("rows.parquet", "rows.jsonl"):
        done = mlsrv("infer", "describe", tmp_path / name, "--url", url, "--values", "-b", 10)
        assert done.returncode == 0, done.stdout + done.stderr
        assert lines_of(done.stdout) == [{"told": "Ada 36 [1.5, 2.0]"}, {"told": "Bob 41 [0.0, 4.25]"}]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"age": 1.5, "name": "x", "scores": [1, 2]}, "age: 1.5 is no INT64"),
        ({"age": 2**70, "name": "x", "scores": [1, 2]}, f"age: {2**70} is no INT64"),
        ({"age": None, "name": "x", "scores": [1, 2]}, "age: an empty cell is no INT64"),
        ({"age": 1, "name": "x"}, "scores"),
        ({"weight": 1}, "the model takes age, name, scores; there are weight"),
        ({"age": 1, "name": "x", "scores": [[1], [2, 3]]}, "scores: the lists in it differ in length"),
        ([1, 2], "the model takes several inputs (age, name, scores); give them by name"),
        ({"inputs": [{"name": "age", "datatype": "INT65", "shape": [1], "data": [1]}]}, "INT65"),
    ],
)
def test_a_record_that_does_not_fit_says_why(server, mlsrv, tmp_path, row: object, sentence: str) -> None:
    good = {"age": 1, "name": "x", "scores": [1, 2]}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(good)}\nnonsense\n")
    done = mlsrv("infer", "describe", "rows.jsonl", "--url", server.rest, "--values")
    assert done.returncode == 1
    first, second, third = lines_of(done.stdout)
    assert first["error"].startswith("line 1: ")
    assert sentence in first["error"]
    assert second == {"told": "x 1 [1.0, 2.0]"}
    assert third["error"].startswith("line 3: ")
    assert "Traceback" not in done.stderr


def test_a_model_without_declared_inputs_gets_the_columns_as_they_are(url, mlsrv, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("i,f,t,b\n1,1,x,true\n2,2.5,3,false\n")
    done = mlsrv("infer", "echo", "rows.csv", "--url", url, "-b", 2, "--columns", "t,i,f")
    assert done.returncode == 0, done.stderr
    assert [
        [(out["name"], out["datatype"], out["shape"], out["data"]) for out in line["outputs"]]
        for line in lines_of(done.stdout)
    ] == [
        [("t", "BYTES", [1], ["x"]), ("i", "INT64", [1], [1]), ("f", "FP64", [1], [1.0])],
        [("t", "BYTES", [1], ["3"]), ("i", "INT64", [1], [2]), ("f", "FP64", [1], [2.5])],
    ]


def test_images_are_sent_as_pixels_or_as_they_are(url, mlsrv, tmp_path: Path) -> None:
    from PIL import Image

    for number, colour in enumerate([(10, 20, 30), (200, 200, 200)]):
        Image.new("RGB", (5, 4), colour).save(tmp_path / f"{number}.png")
    done = mlsrv("infer", "picture", "0.png", "1.png", "--url", url, "--values")
    assert done.returncode == 0, done.stdout
    assert lines_of(done.stdout) == [{"seen": [1, 3, 4, 5, 20]}, {"seen": [1, 3, 4, 5, 200]}]
    raw = mlsrv("infer", "echo", "0.png", "--url", url)
    [output] = lines_of(raw.stdout)[0]["outputs"]
    assert output["datatype"] == "BYTES"
    assert output["parameters"] == {"content_type": "base64"}  # as bytes that are not text are in JSON
    (tmp_path / "no.png").write_bytes(b"nothing")
    bad = mlsrv("infer", "picture", "no.png", "1.png", "--url", url, "--values")
    assert [set(line) for line in lines_of(bad.stdout)] == [{"error"}, {"seen"}]


def test_outputs_without_a_row_for_each_record_are_asked_for_one_by_one(server, mlsrv, tmp_path) -> None:
    (tmp_path / "rows.jsonl").write_text("[1]\n2\n[[3], [4]]\n")
    done = mlsrv("infer", "once", "rows.jsonl", "--url", server.rest, "--values", "-b", 3)
    assert done.returncode == 0, done.stderr
    assert lines_of(done.stdout) == [{"rows": 1}, {"rows": 1}, {"rows": 2}]


def test_records_of_a_pipe_are_answered_as_they_come(server, environment, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlsrv_cli", "infer", "sum", "-", "--url", server.rest, "--values"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            for number in (1, 2):
                process.stdin.write(b"[%d, 0, 0, 0]\n" % number)
                process.stdin.flush()
                assert json.loads(process.stdout.readline()) == {"sum": float(number)}
            process.send_signal(signal.SIGINT)  # while it waits for the pipe
            assert process.wait(LIMIT) == 130
            assert process.stderr is not None
            assert process.stderr.read().decode().startswith("Interrupted: 2 answered in ")
        finally:
            process.kill()


def test_a_run_is_resumed_after_its_last_whole_line(server, mlsrv, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(f"[{number}, 0, 0, 0]" for number in range(20)))
    options = ("--url", server.rest, "--values", "-o", "out.jsonl")
    assert mlsrv("infer", "sum", rows, *options).returncode == 0
    whole = (tmp_path / "out.jsonl").read_bytes()
    assert [line["sum"] for line in lines_of(whole.decode())] == list(range(20))
    refused = mlsrv("infer", "sum", rows, *options)
    assert refused.returncode == 2
    assert "out.jsonl exists; --resume continues it" in refused.stderr
    before = Sum.rows
    (tmp_path / "out.jsonl").write_bytes(whole[: len(whole) // 2])
    assert mlsrv("infer", "sum", rows, *options, "--resume").returncode == 0
    assert (tmp_path / "out.jsonl").read_bytes() == whole
    assert 0 < Sum.rows - before < 20
    assert mlsrv("infer", "sum", rows, *options, "--force").returncode == 0
    assert (tmp_path / "out.jsonl").read_bytes() == whole


def test_batches_are_sent_in_parallel_and_stay_in_order(server, mlsrv, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(f"[{number}, 0, 0, 0]" for number in range(1000)))
    before = Sum.calls
    done = mlsrv("infer", "sum", "rows.jsonl", "--url", server.rest, "--values", "-b", 32, "-p", 8)
    assert [line["sum"] for line in lines_of(done.stdout)] == list(range(1000))
    assert Sum.calls - before == 32


def test_a_server_that_comes_back_is_waited_for(start, add_model, environment, free_port, tmp_path) -> None:
    command = [sys.executable, "-m", "mlsrv_cli", "infer", "echo", "-", "--values", "--retries", "100"]
    command += ["--url", f"http://127.0.0.1:{free_port}"]
    add_model("echo")
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"[1]\n")
            process.stdin.close()
            server = start("--http-port", str(free_port), "--host", "127.0.0.1")
            server.wait_for("1 of 1 models ready")
            assert json.loads(process.stdout.readline()) == {"input-0": 1}
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()


@pytest.fixture
def only_tiny(only_rest: list[str]) -> list[str]:
    """Here it is REST that is the only transport."""
    return only_rest


def test_failures_are_one_line(server, mlsrv, free_port: int, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("[1]\n")
    (tmp_path / "rows.xyz").write_text("[1]\n")
    (tmp_path / "latin.csv").write_bytes(b"a\nM\xfcller\n")
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    (tmp_path / "bad.json").write_bytes(b"{")
    url = ("--url", server.rest)
    for arguments, code, sentence in (
        (("echo", "rows.jsonl", "--url", f"http://127.0.0.1:{free_port}", "--retries", "0"), 1, "running"),
        (("nope", "rows.jsonl", *url), 1, "nope"),
        (("echo", "missing.jsonl", *url), 1, "missing.jsonl cannot be read: No such file"),
        (("echo", "rows.xyz", *url), 2, "--format"),
        (("echo", "latin.csv", *url), 1, "latin.csv is not UTF-8"),
        (("echo", "bad.parquet", *url), 1, "bad.parquet cannot be read as Parquet"),
        (("echo", "bad.json", *url), 1, "bad.json"),
        (("echo", "rows.jsonl", "--resume", *url), 2, "--resume needs a file"),
        (("echo", "rows.jsonl", "-o", "no/such/folder.jsonl", *url), 1, "cannot be written"),
        (("echo", "rows.jsonl", "--key", "@missing", *url), 2, "--key @missing: the file cannot be read"),
        (("echo", "rows.jsonl", "--key", "a\nb", *url), 2, "printable"),
        (("echo", "rows.jsonl", "--timeout", "nan", *url), 2, "timeout"),
        (("echo",), 2, "FILE"),
    ):
        done = mlsrv("infer", *arguments)
        assert done.returncode == code, (arguments, done)
        assert sentence in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert done.stdout == ""


def test_a_key_is_sent_with_each_call(mlsrv, tmp_path: Path) -> None:
    import http.server

    seen: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            body = b'{"error": "no such key"}'
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            return

    (tmp_path / "key").write_text("from-a-file\n")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{web.server_port}"
        try:
            for key in ("secret", "@key"):
                done = mlsrv("infer", "echo", "-", "--url", url, "--key", key)
                assert (done.returncode, done.stderr) == (2, "Error: no such key\n")
        finally:
            web.shutdown()
            thread.join(LIMIT)
    assert seen == ["Bearer secret", "Bearer from-a-file"]


def test_the_progress_is_drawn_on_a_terminal(server, environment, terminal_text, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("[1, 2, 3, 4]\n")
    program = "import sys; sys.stderr = open(2, 'w'); from mlsrv_cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", f"import os; os.dup2(1, 2); {program}", "infer", "sum"]
    text = terminal_text([*command, str(tmp_path / "rows.jsonl"), "--url", server.rest], environment)
    assert "1 answered in" in text
