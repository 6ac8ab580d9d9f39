"""The client against a real server, over REST and gRPC, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mlsrv_grpc.plugin
import mlsrv_rest.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.codecs import PandasCodec
from mlsrv.errors import Code, InvalidPayload
from mlsrv.testing import EchoModel, FailingModel
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
    State,
)
from mlsrv_protocol.client import AsyncClient, Client, ConnectionFailed, Result, ServerError


class Mirror(EchoModel):
    """Answers with its inputs and their parameters."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(
            outputs=[
                ResponseOutput(
                    tensor.name, tensor.shape, tensor.datatype, tensor.data, copy(tensor.parameters)
                )
                for tensor in payload.inputs
            ]
        )


class Labelled(EchoModel):
    """Names the classes of three columns."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        columns = ResponseOutput("y", [1, 3], "FP32", [1, 2, 3], Parameters(labels=LABELS))
        return InferenceResponse(outputs=[columns, ResponseOutput("z", [1], "INT8", [1])])


LABELS = ["a, b", 'the "c"', "é"]
MODELS = [
    ModelSettings(name="mirror", implementation=Mirror),
    ModelSettings(name="labelled", implementation=Labelled),
    ModelSettings(name="my echo", implementation=EchoModel, platform="test"),
    ModelSettings(
        name="declared",
        implementation=EchoModel,
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        parameters={"version": "v1"},
    ),
    ModelSettings(name="failing", implementation=FailingModel),
]
NUMERIC = [datatype for datatype in Datatype if datatype not in (Datatype.BYTES, Datatype.BF16)]


@asynccontextmanager
async def served(scheme: str) -> AsyncIterator[str]:
    """The URL of a server on a port of its own."""
    plugin = mlsrv_rest.plugin if scheme == "http" else mlsrv_grpc.plugin
    settings = {"host": "127.0.0.1", "http_port" if scheme == "http" else "grpc_port": 0}
    async with Kernel(settings, models=MODELS, plugins=[plugin], discover=False) as kernel:
        await kernel.loaded()
        started, stop = asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(kernel.serve(stop.wait, started.set))
        try:
            async with asyncio.timeout(20):
                await started.wait()
            [transport] = kernel.transports.values()
            yield transport.endpoints[0]
        finally:
            stop.set()
            await serving


SCHEMES = pytest.mark.parametrize("scheme", ["http", "grpc"])


@SCHEMES
async def test_everything_that_a_server_can_be_asked(scheme: str) -> None:
    def asked(url: str) -> None:
        with Client(url) as client:
            assert client.live()
            assert client.ready()
            assert client.metadata().name == "mlsrv"
            metadata = client.model_metadata("declared", "v1")
            assert [tensor.name for tensor in metadata.inputs] == ["x"]
            assert {item.name for item in client.index()} == {settings.name for settings in MODELS}
            client.unload("my echo")
            assert not client.model_ready("my echo")
            assert len(client.index(only_ready=True)) == len(MODELS) - 1
            states = {item.name: item.state for item in client.index()}
            assert states["my echo"] is State.UNAVAILABLE
            client.load("my echo")
            assert client.model_ready("my echo")
            client.infer("my echo", {"x": [1]})
            [done] = client.statistics("my echo")
            assert int(done["inference_stats"]["success"]["count"]) == 1

    async with served(scheme) as url:
        await asyncio.to_thread(asked, url)


@SCHEMES
async def test_the_same_asynchronously(scheme: str) -> None:
    async with served(scheme) as url, AsyncClient(url) as client:
        assert await client.ready()
        result = await client.infer("declared", {"x": np.zeros((3, 2), np.float32)}, version="v1", id="7")
        assert result["x"].shape == (3, 2)
        assert (result.response.id, result.response.model_version) == ("7", "v1")
        many = await asyncio.gather(*(client.infer("my echo", {"x": [n]}) for n in range(20)))
        assert [int(one["x"][0]) for one in many] == list(range(20))


@SCHEMES
@pytest.mark.parametrize("as_json", [False, True])
async def test_arrays_of_every_datatype_come_back(scheme: str, as_json: bool) -> None:
    arrays = {str(datatype): np.array([[0, 1], [1, 0]]).astype(datatype.dtype) for datatype in NUMERIC}
    async with served(scheme) as url, AsyncClient(url) as client:
        result = await client.infer("my echo", {**arrays, "texts": ["é", "b"]}, as_json=as_json)
        for name, array in arrays.items():
            assert result[name].dtype == array.dtype
            assert np.array_equal(result[name], array)
        assert result["texts"].tolist() == ["é", "b"]
        assert set(result) == {*arrays, "texts"}
        bits = RequestInput("b", [2], "BF16", np.array([0x3FC0, 0xBF80], np.uint16))
        brain = await client.infer("my echo", InferenceRequest([bits]), as_json=as_json)
        assert brain["b"].tolist() == [1.5, -1.0]


@SCHEMES
@pytest.mark.parametrize("as_json", [False, True])
async def test_texts_are_str_and_binary_data_is_bytes_whichever_way_they_come(
    scheme: str, as_json: bool
) -> None:
    sent = InferenceRequest(
        [
            RequestInput("texts", [2], "BYTES", [b"\xc3\xa9", "b"], Parameters(content_type="str")),
            RequestInput("data", [2], "BYTES", [b"a", b"\xff\x00"]),
            RequestInput("coded", [1], "BYTES", ["/wA="], Parameters(content_type="base64")),
            RequestInput("none", [0], "BYTES", []),
        ]
    )
    async with served(scheme) as url, AsyncClient(url) as client:
        result = await client.infer("mirror", sent, as_json=as_json)
        assert {name: array.tolist() for name, array in result.items()} == {
            "texts": ["é", "b"],
            "data": [b"a", b"\xff\x00"],
            "coded": [b"\xff\x00"],
            "none": [],
        }
        wrong = [RequestInput("coded", [1], "BYTES", ["a"], Parameters(content_type="base64"))]
        broken = await client.infer("mirror", InferenceRequest(wrong), as_json=as_json)
        with pytest.raises(InvalidPayload, match='The output "coded" is no base64'):
            broken["coded"]


@SCHEMES
async def test_labels_of_columns_are_told(scheme: str) -> None:
    async with served(scheme) as url, AsyncClient(url) as client:
        result = await client.infer("labelled", {"x": [1]})
        assert (result.labels("y"), result.labels("z")) == (LABELS, None)
        with pytest.raises(KeyError):
            result.labels("x")


@pytest.mark.parametrize("labels", ["[", '"a"', 5])
def test_labels_that_are_no_list_are_none(labels: Any) -> None:
    output = ResponseOutput("y", [1], "INT8", [1], Parameters(labels=labels))
    assert Result(InferenceResponse("m", [output])).labels("y") is None


@SCHEMES
async def test_a_frame_goes_in_and_comes_back(scheme: str) -> None:
    frame = pd.DataFrame({"a": ["x", None], "b": [1, 2]})
    async with served(scheme) as url, AsyncClient(url) as client:
        result = await client.infer("mirror", PandasCodec.encode_request(frame))
        pd.testing.assert_frame_equal(PandasCodec.decode_response(result.response), frame)


@SCHEMES
async def test_outputs_and_parameters_are_sent(scheme: str) -> None:
    async with served(scheme) as url, AsyncClient(url) as client:
        result = await client.infer("my echo", {"x": [1.0]}, outputs=["x"], parameters={"a": 1})
        assert list(result) == ["x"]
        kept = InferenceRequest(
            [RequestInput("y", [1], "FP64", [2.0])], id="k", parameters=Parameters(content_type="np")
        )
        assert (await client.infer("my echo", kept)).response.id == "k"


@SCHEMES
async def test_failures_carry_their_code_and_sentence(scheme: str) -> None:
    async with served(scheme) as url, AsyncClient(url) as client:
        for model, inputs, code, says in (
            ("nope", {"x": [1]}, Code.NOT_FOUND, "nope"),
            ("failing", {"x": [1]}, Code.INTERNAL, "ValueError"),
            ("declared", {"x": [1]}, Code.INVALID_ARGUMENT, "INT64"),
        ):
            with pytest.raises(ServerError, match=says) as caught:
                await client.infer(model, inputs)
            assert caught.value.code is code
        with pytest.raises(ServerError) as caught:
            await client.load("nope")
        assert caught.value.code is Code.NOT_FOUND
        with pytest.raises((InvalidPayload, TypeError)):
            await client.infer("my echo", {"x": np.array([1j])})


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_not_there_is_said_to_be(scheme: str, free_port: int) -> None:
    with Client(f"{scheme}://127.0.0.1:{free_port}", timeout=5, retries=1) as client:
        with pytest.raises(ConnectionFailed, match="cannot be reached"):
            client.live()


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "", "grpc:8081"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidPayload, match="URL"):
        Client(url)


class Overloaded(http.server.BaseHTTPRequestHandler):
    """Refuses the first two requests, and answers the third."""

    seen = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).seen += 1
        body = b'{"error":"busy"}' if self.seen < 3 else b'{"model_name":"m","outputs":[]}'
        self.send_response(503 if self.seen < 3 else 200)
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def overloaded() -> Iterator[str]:
    Overloaded.seen = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Overloaded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def test_only_what_may_be_repeated_is_tried_again(overloaded: str) -> None:
    with Client(overloaded) as client:
        with pytest.raises(ServerError, match="busy") as caught:
            client.infer("m", {"x": [1]})
        assert caught.value.code is Code.OVERLOADED
        assert Overloaded.seen == 1
        assert len(client.infer("m", {"x": [1]}, repeatable=True)) == 0
        assert Overloaded.seen == 3
