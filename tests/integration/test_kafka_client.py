"""The client and the command line over Kafka, against a server and the broker of the client library."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsrv import ModelSettings
from mlsrv.errors import InferenceError
from mlsrv.testing import EchoModel, SlowModel
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput
from mlsrv_protocol import Code, InvalidPayload
from mlsrv_protocol.client import AsyncClient, Client, ConnectionFailed, ServerError
from mlsrv_protocol.client.kafka_channel import Place, read_url
from mock_broker import Mock
from served import served

pytestmark = pytest.mark.timeout(240)
ROW = np.float32([[1.5, 2.5]])


@pytest.fixture
async def url() -> Any:
    """Where a server with the models "echo" and "slow" is asked."""
    broker = Mock()
    await asyncio.to_thread(broker.create, "in", "out", "errors")
    models = [
        ModelSettings(name="echo", implementation=EchoModel),
        ModelSettings(name="counting", implementation=Counting),
        ModelSettings(name="slow", implementation=SlowModel, parameters={"extra": {"seconds": 30}}),
    ]
    async with served(models, **broker.settings(parallel_workers=0, shutdown_timeout=0.5)):
        yield f"kafka://{broker.servers}/in/out?errors=errors"


async def test_inferences(url: str) -> None:
    def ask() -> None:
        with Client(url) as client, ThreadPoolExecutor(8) as threads:
            for as_json in (False, True):
                result = client.infer("echo", {"x": ROW}, id="mine", as_json=as_json)
                assert result.response.id == "mine"
                assert np.array_equal(result["x"], ROW)
            rows = [ROW + number for number in range(50)]
            results = list(threads.map(lambda row: client.infer("echo", {"x": row})["x"], rows))
            assert all(map(np.array_equal, results, rows))
            with pytest.raises(ServerError, match="nobody") as caught:
                client.infer("nobody", {"x": ROW})
            assert caught.value.code is Code.NOT_FOUND
            with pytest.raises(ServerError, match="cannot be asked over Kafka") as caught:
                client.ready()
            assert caught.value.code is Code.UNIMPLEMENTED

    await asyncio.to_thread(ask)


async def test_an_asynchronous_client(url: str) -> None:
    async with AsyncClient(url) as client:
        results = await asyncio.gather(*(client.infer("echo", {"x": ROW + n}) for n in range(20)))
        assert [float(result["x"][0, 0]) for result in results] == [1.5 + n for n in range(20)]


class Counting(EchoModel):
    """Streams three responses; breaks after two where the id says so."""

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for number in range(3):
                if number == 2 and payload.id == "breaks":
                    raise InferenceError("no more")
                yield InferenceResponse(outputs=[ResponseOutput("n", [1], "INT64", [number])])


async def test_streams(url: str) -> None:
    def ask() -> None:
        with Client(url) as client:
            for as_json in (False, True):
                found = client.stream("counting", {"x": ROW}, as_json=as_json)
                assert [int(result["n"][0]) for result in found] == [0, 1, 2]
            numbers: list[int] = []
            with pytest.raises(ServerError, match="no more") as caught:
                numbers += (int(each["n"][0]) for each in client.stream("counting", {"x": ROW}, id="breaks"))
            assert caught.value.code is Code.INVALID_ARGUMENT
            assert numbers == [0, 1]
            with pytest.raises(ServerError, match="nobody"):
                list(client.stream("nobody", {"x": ROW}))
            assert client.infer("echo", {"x": ROW}, id="breaks").response.id == "breaks"

    await asyncio.to_thread(ask)


async def test_streams_of_an_asynchronous_client(url: str) -> None:
    async with AsyncClient(url) as client:

        async def numbers() -> list[int]:
            return [int(result["n"][0]) async for result in client.stream("counting", {"x": ROW})]

        assert await asyncio.gather(*(numbers() for _ in range(5))) == [[0, 1, 2]] * 5


async def test_streams_on_the_command_line(url: str, tmp_path: Path) -> None:
    row = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [1]}]}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row | {'id': 'breaks'})}\n{json.dumps(row)}\n")
    command = [str(Path(sys.executable).parent / "mlsrv"), "infer", "counting", "rows.jsonl"]
    command += ["--url", url, "--stream", "--values", "--quiet"]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, cwd=tmp_path, timeout=100
    )
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("n") for line in lines] == [0, 1, None, 0, 1, 2]
    assert "no more" in lines[2]["error"]


def test_streams_are_read_over_kafka_alone() -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(ServerError, match="over Kafka alone") as caught,
    ):
        client.stream("m", {"x": ROW})
    assert caught.value.code is Code.UNIMPLEMENTED


async def test_no_answer_in_time(url: str) -> None:
    def ask() -> None:
        with Client(url, timeout=15) as client:
            client.infer("echo", {"x": ROW})
        with Client(url, timeout=3) as client:
            began = time.monotonic()
            with pytest.raises(ServerError, match=r"out within 3 s\. A server whose") as caught:
                client.infer("slow", {"x": ROW})
            assert caught.value.code is Code.DEADLINE_EXCEEDED
            assert time.monotonic() - began < 20

    await asyncio.to_thread(ask)


async def test_the_command_line(url: str, tmp_path: Path) -> None:
    rows = [{"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [n]}]} for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(model: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "mlsrv"), "infer", model, "rows.jsonl", "--url", url]
        return subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path, timeout=100)

    done = await asyncio.to_thread(run, "echo", "--quiet")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["outputs"][0]["data"] for answer in answers] == [[n] for n in range(20)]
    done = await asyncio.to_thread(run, "nobody")
    assert done.returncode == 1
    assert "Model nobody not found" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_urls() -> None:
    assert read_url("kafka://a:1,b:2", True) == Place(
        "a:1,b:2", "mlserver-input", "mlserver-output", None, {}
    )
    assert read_url("kafka://a:1/x/y?errors=z&sasl.username=u", True) == Place(
        "a:1", "x", "y", "z", {"sasl.username": "u"}
    )
    assert read_url("kafkas://a:1/x/y", "ca.pem").config == {
        "security.protocol": "SSL",
        "ssl.ca.location": "ca.pem",
    }
    with pytest.raises(InvalidPayload, match="two topics"):
        read_url("kafka://a:1/x", True)
    with pytest.raises(InvalidPayload, match=r"no\.such\.key"):
        Client("kafka://a:1?no.such.key=1")


@pytest.fixture
def nowhere() -> Iterator[Client]:
    with Client("kafka://127.0.0.1:9", timeout=1) as client:
        yield client


def test_no_broker(nowhere: Client) -> None:
    with pytest.raises(ConnectionFailed, match="The topic mlserver-output cannot be read"):
        nowhere.infer("echo", {"x": ROW})


def test_an_output_topic_that_does_not_exist() -> None:
    broker = Mock()
    with (
        Client(f"kafka://{broker.servers}/in/none", timeout=2) as client,
        pytest.raises(ConnectionFailed, match="The topic none cannot be read"),
    ):
        client.infer("echo", {"x": ROW})
