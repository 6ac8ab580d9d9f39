"""Body decoder: large bodies are decoded in a thread; control routes take small ones only."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import zlib
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from mlsrv import MLModel, ModelSettings
from mlsrv.handlers import custom_handler
from mlsrv.testing import EchoModel
from mlsrv_protocol import json_text, large_json
from mlsrv_protocol.binary import HEADER
from mlsrv_rest.body_decoder import THREAD_BYTES, BodyDecoder

ECHO = "/v2/models/echo"
LARGE = THREAD_BYTES // 2
NUMBERS = {"name": "x", "shape": [LARGE], "datatype": "INT64", "data": [7] * LARGE}
TEXTS = {"name": "x", "shape": [LARGE], "datatype": "BYTES", "data": ["7"] * LARGE}


class Counting(MLModel):
    """Has a custom handler whose body is JSON."""

    @custom_handler("/count")
    async def count(self, body: list[int]) -> int:
        return len(body)


MODELS = [
    ModelSettings(name="echo", implementation=EchoModel),
    ModelSettings(
        name="declared",
        implementation=EchoModel,
        inputs=[{"name": "x", "datatype": "INT64", "shape": [-1]}],
    ),
    ModelSettings(name="counting", implementation=Counting),
]


@pytest.fixture
def parsing_threads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the names of the threads that parse JSON of 64 KiB and more."""
    found: set[str] = set()

    def loads(body: Any) -> Any:
        if len(body) >= THREAD_BYTES:
            found.add(threading.current_thread().name)
        return orjson.loads(body)

    noting = SimpleNamespace(**{**vars(orjson), "loads": loads})
    for module in (json_text, large_json):
        monkeypatch.setattr(module, "orjson", noting)
    return found


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (f"{ECHO}/infer", {"inputs": [TEXTS]}),
        (f"{ECHO}/infer", {"inputs": [NUMBERS], "zz": [None] * LARGE}),
        (f"{ECHO}/infer_stream", {"inputs": [TEXTS]}),
        ("/v2/models/declared/generate", {"x": [7] * LARGE}),
        ("/v2/models/declared/generate", {"inputs": [NUMBERS]}),
        ("/v2/models/declared/generate_stream", {"x": [7] * LARGE}),
        ("/v2/models/counting/count", [7] * LARGE),
    ],
)
async def test_large_bodies_are_parsed_outside_the_event_loop(
    serve_http2: Any, parsing_threads: set[str], path: str, content: Any
) -> None:
    async with serve_http2(models=MODELS) as served:
        answer = await served.client.post(path, json=content)
        assert answer.status_code == 200, answer.text
    assert threading.main_thread().name not in parsing_threads


async def test_a_small_body_is_decoded_at_once() -> None:
    decoder = BodyDecoder()
    decode = lambda body: threading.current_thread().name  # noqa: E731
    assert await decoder.run(decode, b"x" * (THREAD_BYTES - 1)) == threading.main_thread().name
    assert (await decoder.run(decode, b"x" * THREAD_BYTES)).startswith("mlsrv-rest-decode")
    decoder.close()


async def test_a_large_binary_body_is_still_decoded(serve: Any) -> None:
    head = {"inputs": [{"name": "x", "shape": [LARGE], "datatype": "BYTES"}]}
    head["inputs"][0]["parameters"] = {"binary_data_size": 5 * LARGE}  # type: ignore[index]  # plain data
    text = json.dumps(head).encode()
    body = text + b"\x01\0\0\0a" * LARGE
    async with serve() as served:
        answer = await served.client.post(f"{ECHO}/infer", content=body, headers={HEADER: str(len(text))})
        assert answer.json()["outputs"][0]["data"] == ["a"] * LARGE
        wrong = await served.client.post(f"{ECHO}/infer", content=body, headers={HEADER: "many"})
        assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/echo/load"),
        ("POST", "/v2/repository/models/echo/unload/"),
        ("POST", "/v2/repository/any/models/echo/load"),
        ("GET", "/v2/health/live"),
        ("POST", "/v2/models/echo/ready"),
        ("GET", "/v2/models/echo/versions/1/stats"),
        ("POST", "/v2"),
    ],
)
async def test_control_routes_take_64_kib(serve: Any, method: str, path: str) -> None:
    async with serve() as served:
        for content in (b" " * (THREAD_BYTES + 1), b"[" + b"[]," * 2**20 + b"[]]"):
            answer = await served.client.request(method, path, content=content)
            assert (answer.status_code, answer.headers["content-type"]) == (413, "application/json")
            assert "65536" in answer.json()["error"]
        packed = gzip.compress(b" " * (THREAD_BYTES + 1))
        answer = await served.client.request(
            method, path, content=packed, headers={"content-encoding": "gzip"}
        )
        assert answer.status_code == 413
        assert (await served.client.request(method, path, content=b" ")).status_code != 413


async def test_a_path_that_is_not_utf8_with_a_large_body(serve: Any) -> None:
    async with serve() as served:
        wire = await served.wire()
        answer = await wire.post("/v2/models/%FF/infer", b" " * 2**17)
        assert answer.status == 413
        assert (await wire.post("/v2/models/%FF/infer", b"")).status == 400
        await wire.close()


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_body_that_unpacks_to_over_a_hundred_times_its_size(
    serve: Any, encoding: str, pack: Any
) -> None:
    headers = {"content-encoding": encoding}
    async with serve() as served:
        url = f"{ECHO}/infer"
        bomb = await served.client.post(url, content=pack(b" " * 16 * 2**20), headers=headers)
        assert bomb.status_code == 413
        assert bomb.json()["error"] == "The request body unpacks to more than 100 times its size."
        small = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]' + b" " * 900_000 + b"}"
        assert (await served.client.post(url, content=pack(small), headers=headers)).status_code == 200


async def test_health_is_answered_while_a_hostile_body_is_refused(serve: Any) -> None:
    body = b'{"parameters":{"a":[' + b"[]," * (16 * 2**20 // 3) + b'[]]},"inputs":[]}'
    async with serve() as served:
        loop = asyncio.get_running_loop()
        asking = asyncio.gather(*(served.client.post(f"{ECHO}/infer", content=body) for _ in range(4)))
        worst = 0.0
        while not asking.done():
            began = loop.time()
            assert (await served.client.get("/v2/health/live")).status_code == 200
            worst = max(worst, loop.time() - began)
        assert {answer.status_code for answer in await asking} == {400}
        assert worst < 2.0  # to read one of them takes longer
