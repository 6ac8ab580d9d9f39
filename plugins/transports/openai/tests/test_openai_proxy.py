"""The proxy: this server before another one with the same API, and before one that misbehaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai_models
import pytest
from openai import AsyncOpenAI, BadRequestError, InternalServerError

from mlsrv import ModelSettings
from mlsrv.codecs import NumpyCodec
from mlsrv.errors import ModelLoadError
from mlsrv.testing import text_request
from mlsrv.types import RequestOutput
from mlsrv_openai import ProxyModel
from mlsrv_testing.contracts.running import eventually
from served import Served, served

ALL = ["chat", "completions", "embeddings", "rerank"]


def proxy(name: str, url: str, **extra: Any) -> ModelSettings:
    return ModelSettings(
        name=name, implementation="openai-proxy", parameters={"extra": {"base_url": url, **extra}}
    )


@asynccontextmanager
async def before(upstream: str) -> AsyncIterator[Served]:
    """A server whose models pass on to another one."""
    url = f"{upstream}/v1"
    models = [
        proxy("writes", url, model="echo"),
        proxy("embeds", url, model="vectors", serves=["embeddings"]),
        proxy("ranks", url, serves=["rerank"]),
        proxy("lost", url, model="none"),
    ]
    async with served(models, executor="inline") as found:
        yield found


@pytest.fixture
async def client(server: Served) -> AsyncIterator[Any]:
    """A client of a server that passes on to `server`."""
    async with (
        before(server.rest) as front,
        AsyncOpenAI(base_url=f"{front.rest}/v1", api_key="none", max_retries=0, timeout=30) as made,
    ):
        yield made


async def test_everything_is_passed_on(client: Any) -> None:
    assert [model.id async for model in client.models.list()] == ["embeds", "lost", "ranks", "writes"]
    messages = [{"role": "user", "content": "one two three"}]
    whole = await client.chat.completions.create(model="writes", messages=messages, temperature=0.5)
    assert whole.choices[0].message.content == "one two three"
    assert whole.usage.total_tokens == 6
    assert openai_models.last == {"temperature": 0.5}
    stream = await client.chat.completions.create(
        model="writes",
        messages=messages,
        max_tokens=2,
        stream=True,
        stream_options={"include_usage": True},
        logprobs=True,
        top_logprobs=1,
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices) == "one two"
    told = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices]
    assert [one.content[0].token for one in told if one is not None] == ["one", "two"]
    assert chunks[-1].usage.completion_tokens == 2
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    prompt = await client.completions.create(model="writes", prompt=["a b", "c"], logprobs=1)
    assert [choice.text for choice in prompt.choices] == ["a b", "c"]
    assert prompt.choices[0].logprobs.tokens == ["a", "b"]
    vectors = await client.embeddings.create(model="embeds", input=["a tree", "é"])
    assert np.allclose(np.linalg.norm([one.embedding for one in vectors.data], axis=1), 1.0, atol=1e-5)
    assert vectors.usage.prompt_tokens == 3
    body = {"model": "ranks", "query": "red house", "documents": ["no", "a red house"]}
    answer = await client.post("/rerank", body=body, cast_to=httpx.Response)
    assert [one["index"] for one in json.loads(answer.content)["results"]] == [1, 0]


async def test_refusals_are_passed_on(client: Any) -> None:
    with pytest.raises(BadRequestError, match=r"upstream server refuses.*does not like this prompt"):
        await client.completions.create(model="writes", prompt="refuse")
    with pytest.raises(BadRequestError, match="none not found"):
        await client.completions.create(model="lost", prompt="a")
    with pytest.raises(InternalServerError, match=r"has no room now.*full") as caught:
        await client.completions.create(model="writes", prompt="full")
    assert caught.value.status_code == 503
    stream = await client.completions.create(model="writes", prompt="one break", stream=True)
    with pytest.raises(Exception, match="ZeroDivisionError"):
        async for _ in stream:
            pass
    with pytest.raises(BadRequestError, match="declares no tensors for texts"):
        await client.completions.create(model="embeds", prompt="a")


async def test_a_client_that_leaves_is_passed_on(client: Any) -> None:
    stream = await client.completions.create(
        model="writes", prompt="on and on", max_tokens=10**9, stream=True
    )
    async for _ in stream:
        break
    await stream.close()
    await eventually("the upstream stream is closed", lambda: "on and on" in openai_models.closed, 60)


async def test_tensors_of_the_proxy(server: Served) -> None:
    async with before(server.rest) as front:
        response = await front.kernel.infer(text_request("embeds", ["a tree", "é"], name="text_input"))
        vectors = NumpyCodec.decode_output(response.outputs[0])
        assert vectors.shape == (2, 3)
        asked = text_request("writes", ["a b"], name="text_input")
        asked.outputs = [RequestOutput("text_output"), RequestOutput("completion_tokens")]
        response = await front.kernel.infer(asked)
        assert [list(output.data) for output in response.outputs] == [["a b"], [2]]


# --- an upstream server that misbehaves ---------------------------------------------------------------------


@asynccontextmanager
async def answering(*pieces: bytes, ends: bool = True) -> AsyncIterator[str]:
    """A server that answers every request with these bytes, then closes the connection or keeps silent."""
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if not ends:
            await over.wait()
        writer.close()

    started = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{started.sockets[0].getsockname()[1]}/v1"
    finally:
        over.set()
        started.close()


def reply(status: int, body: Any, kind: str = "application/json", more: str = "") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{more}content-length: {len(content)}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + content


EVENT = b'data: {"choices": [{"text": "a"}]}\n\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be reached"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "cannot be reached"),
        (reply(200, b"{"), "no JSON object"),
        (reply(200, []), "no JSON object"),
        (reply(200, {}), "without a choice"),
        (reply(200, {"choices": [None]}), "without a choice"),
        (reply(401, {"error": {"message": "who"}}), "refuses the key of this server"),
        (reply(429, {"error": "busy"}, more="retry-after: 7\r\n"), "has no room now: busy"),
        (reply(422, {"error": {"message": "bad\nfield."}}), "refuses the request: bad field"),
        (reply(500, b"<html>"), "failed with status 500"),
    ],
    ids=range(10),
)
async def test_bad_answers(content: bytes, message: str) -> None:
    async with answering(content) as url, served([proxy("m", url)], executor="inline") as front:
        async with httpx.AsyncClient(timeout=30) as http:
            answer = await http.post(f"{front.rest}/v2/models/m/generate", json={"text_input": "a"})
        assert message in answer.json()["error"]
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (EVENT, "ended a stream before its end"),
        (EVENT + b"data: {\n\n", "no JSON object"),
        (EVENT + b'data: {"error": {"message": "out of memory"}}\n\n', "failed: out of memory"),
    ],
    ids=["cut", "broken", "error"],
)
async def test_bad_streams(events: bytes, message: str) -> None:
    content = reply(200, events, "text/event-stream")
    async with answering(content) as url, served([proxy("m", url)], executor="inline") as front:
        async with httpx.AsyncClient(timeout=30) as http:
            body = {"model": "m", "prompt": "a", "stream": True}
            answer = await http.post(f"{front.rest}/v1/completions", json=body)
    lines = [line for line in answer.text.split("\n\n") if line]
    assert json.loads(lines[0][6:])["choices"][0]["text"] == "a"
    assert message in json.loads(lines[-1][6:])["error"]["message"]


async def test_a_silent_server_and_a_deadline() -> None:
    async with answering(ends=False) as url, served([proxy("m", url)], executor="inline") as front:
        async with httpx.AsyncClient(timeout=30) as http:
            body = {"model": "m", "prompt": "a"}
            answer = await http.post(
                f"{front.rest}/v1/completions", json=body, headers={"x-request-timeout": "0.5"}
            )
    assert answer.status_code == 504


async def test_no_server(free_port: int) -> None:
    settings = proxy("m", f"http://127.0.0.1:{free_port}/v1")
    async with served([settings], executor="inline") as front, httpx.AsyncClient(timeout=30) as http:
        answer = await http.post(f"{front.rest}/v1/completions", json={"model": "m", "prompt": "a"})
    assert answer.status_code == 500
    assert "cannot be reached (ConnectError)" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({}, "base_url must be a URL"),
        ({"base_url": "localhost:80"}, "base_url must be a URL"),
        ({"base_url": "http://x/v1", "serves": ["chess"]}, "serves must be a list of chat"),
        ({"base_url": "http://x/v1", "serves": []}, "serves must be a list"),
        ({"base_url": "http://x/v1", "api_key_file": "/no/such/file"}, "api_key_file cannot be read"),
        ({"base_url": "http://x/v1", "modle": "a"}, "modle is unknown; known are base_url, model"),
    ],
    ids=range(6),
)
async def test_wrong_settings(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        await ProxyModel(ModelSettings(name="m", parameters={"extra": extra})).load()


async def test_the_key_is_sent(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply(200, {"choices": [{"text": "x", "finish_reason": "stop"}]}))
        await writer.drain()
        writer.close()

    started = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{started.sockets[0].getsockname()[1]}/v1"
    extra = {"base_url": url, "api_key_file": str(tmp_path / "key")}
    model = ProxyModel(ModelSettings(name="m", parameters={"extra": extra}))
    try:
        await model.load()
        await model.predict(text_request("m", ["a"], name="text_input"))
    finally:
        await model.unload()
        started.close()
    assert b"authorization: bearer secret" in heads[0].lower()
