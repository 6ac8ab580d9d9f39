"""The routes, with the client of OpenAI against a real server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import numpy as np
import openai
import openai_models
import pytest

from mlsrv_openai.errors import error_body
from mlsrv_testing.contracts.running import eventually
from served import Served

QUESTION: Any = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one two three"}]


async def test_models(client: Any) -> None:
    found = [model.id async for model in client.models.list()]
    assert found == ["echo", "ranks", "vectors", "whole"]
    assert (await client.models.retrieve("echo")).owned_by == "mlsrv"
    with pytest.raises(openai.NotFoundError, match="not found"):
        await client.models.retrieve("nothing")


async def test_a_conversation(client: Any) -> None:
    answer = await client.chat.completions.create(model="echo", messages=QUESTION)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "one two three")
    assert choice.finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        3,
        3,
        6,
    )


async def test_parts_of_a_message(client: Any) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    answer = await client.chat.completions.create(model="echo", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "one two"


async def test_options_reach_the_model(client: Any) -> None:
    answer = await client.chat.completions.create(
        model="echo",
        messages=QUESTION,
        max_completion_tokens=5,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["zzz"],
        presence_penalty=1,
        frequency_penalty=0.5,
    )
    assert answer.choices[0].message.content == "one two three one two"
    assert answer.choices[0].finish_reason == "length"
    assert openai_models.last == {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["zzz"],
        "presence_penalty": 1,
        "frequency_penalty": 0.5,
    }


async def test_a_stream(client: Any) -> None:
    stream = await client.chat.completions.create(
        model="echo", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert pieces == ["", "one ", "two ", "three"]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices] == [None, None, None, "stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 6


async def test_the_synchronous_client(server: Served) -> None:
    def ask() -> tuple[str, list[str]]:
        with openai.OpenAI(base_url=f"{server.rest}/v1", api_key="none", max_retries=0) as client:
            whole = client.completions.create(model="echo", prompt="a b c")
            stream = client.completions.create(model="echo", prompt="a b c", stream=True)
            return whole.choices[0].text, [chunk.choices[0].text for chunk in stream]

    assert await asyncio.to_thread(ask) == ("a b c", ["a ", "b ", "c"])


async def test_completions(client: Any) -> None:
    answer = await client.completions.create(model="echo", prompt=["a b", "c d e"], max_tokens=2)
    assert [(choice.index, choice.text, choice.finish_reason) for choice in answer.choices] == [
        (0, "a b", "stop"),
        (1, "c d", "length"),
    ]
    assert answer.usage.completion_tokens == 4
    echoed = await client.completions.create(model="echo", prompt="a b", echo=True)
    assert echoed.choices[0].text == "a ba b"
    stream = await client.completions.create(model="echo", prompt="a b", echo=True, stream=True)
    assert [chunk.choices[0].text async for chunk in stream] == ["a b", "a ", "b"]


async def test_a_model_that_answers_as_a_whole(client: Any) -> None:
    answer = await client.completions.create(model="whole", prompt="hello")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("HELLO", "stop")
    assert answer.usage.total_tokens == 0
    stream = await client.completions.create(model="whole", prompt="hello", stream=True)
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].text for chunk in chunks] == ["HELLO", ""]
    assert chunks[-1].choices[0].finish_reason == "stop"
    with pytest.raises(openai.BadRequestError, match="conversations"):
        await client.chat.completions.create(model="whole", messages=QUESTION)


async def test_probabilities(client: Any) -> None:
    answer = await client.chat.completions.create(
        model="echo", messages=QUESTION, logprobs=True, top_logprobs=1
    )
    told = answer.choices[0].logprobs.content
    assert [(one.token, one.logprob, one.top_logprobs[0].token) for one in told] == [
        ("one", -0.5, "one"),
        ("two", -0.5, "two"),
        ("three", -0.5, "three"),
    ]
    older = (await client.completions.create(model="echo", prompt="a b", logprobs=1)).choices[0].logprobs
    assert (older.tokens, older.token_logprobs, older.text_offset) == (["a", "b"], [-0.5, -0.5], [0, 1])
    with pytest.raises(openai.BadRequestError, match="probabilities"):
        await client.completions.create(model="whole", prompt="a", logprobs=1)


async def test_embeddings(client: Any) -> None:
    texts = ["a tree", "the longest of all texts", "é"]
    as_base64 = await client.embeddings.create(model="vectors", input=texts)  # what the client asks for
    as_numbers = await client.embeddings.create(model="vectors", input=texts, encoding_format="float")
    assert as_base64.usage.prompt_tokens == as_numbers.usage.prompt_tokens == 8
    for one, other, text in zip(as_base64.data, as_numbers.data, texts, strict=True):
        row = np.array([len(text), sum(map(text.count, "aeiou")), 1.0])
        assert np.allclose(one.embedding, row / np.linalg.norm(row), atol=1e-6)
        assert one.embedding == other.embedding
    assert [one.index for one in as_numbers.data] == [0, 1, 2]
    single = await client.embeddings.create(model="vectors", input=texts[0], dimensions=2)
    assert np.allclose(np.linalg.norm(single.data[0].embedding), 1.0)
    assert len(single.data[0].embedding) == 2


async def test_rerank(http: httpx.AsyncClient) -> None:
    body = {
        "model": "ranks",
        "query": "red house",
        "documents": ["a blue house", {"text": "red house"}, "no"],
    }
    answer = (await http.post("/v1/rerank", json={**body, "return_documents": True})).json()
    assert [(one["index"], one["relevance_score"]) for one in answer["results"]] == [
        (1, 2.0),
        (0, 1.0),
        (2, 0.0),
    ]
    assert answer["results"][0]["document"] == {"text": "red house"}
    best = (await http.post("/v1/rerank", json={**body, "top_n": 1})).json()
    assert best["results"] == [{"index": 1, "relevance_score": 2.0}]


# --- what is refused ----------------------------------------------------------------------------------------

CHAT = {"model": "echo", "messages": QUESTION}


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("chat/completions", {}, 400, None),
        ("chat/completions", {"model": "echo"}, 400, "messages"),
        ("chat/completions", {**CHAT, "messages": []}, 400, "messages"),
        ("chat/completions", {**CHAT, "messages": [5]}, 400, "messages.0"),
        ("chat/completions", {**CHAT, "messages": [{"role": "user", "content": None}]}, 400, "messages.0"),
        (
            "chat/completions",
            {**CHAT, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "messages.0",
        ),
        ("chat/completions", {**CHAT, "model": "none"}, 404, "model"),
        ("chat/completions", {**CHAT, "model": 5}, 400, "model"),
        ("chat/completions", {**CHAT, "n": 2}, 400, "n"),
        ("chat/completions", {**CHAT, "tools": [{}]}, 400, "tools"),
        ("chat/completions", {**CHAT, "response_format": {"type": "json_object"}}, 400, "response_format"),
        ("chat/completions", {**CHAT, "audio": {"voice": "a"}}, 400, "audio"),
        ("chat/completions", {**CHAT, "web_search_options": {}}, 400, "web_search_options"),
        ("chat/completions", {**CHAT, "function_call": {"name": "f"}}, 400, "function_call"),
        ("chat/completions", {**CHAT, "function_call": "auto"}, 200, None),
        ("chat/completions", {**CHAT, "stop": []}, 200, None),
        ("chat/completions", {**CHAT, "temperature": "hot"}, 400, "temperature"),
        ("chat/completions", {**CHAT, "seed": 1.5}, 400, "seed"),
        ("chat/completions", {**CHAT, "max_tokens": 0}, 400, "max_tokens"),
        ("chat/completions", {**CHAT, "stop": [1]}, 400, "stop"),
        ("chat/completions", {**CHAT, "stop": ["a"] * 17}, 400, "stop"),
        ("chat/completions", {**CHAT, "stream": "yes"}, 400, "stream"),
        ("chat/completions", {**CHAT, "stream": True, "stream_options": 1}, 400, "stream_options"),
        ("chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
        ("chat/completions", {**CHAT, "top_logprobs": 2}, 400, "top_logprobs"),
        ("completions", {"model": "echo"}, 400, "prompt"),
        ("completions", {"model": "echo", "prompt": [[1, 2]]}, 400, "prompt"),
        ("completions", {"model": "echo", "prompt": []}, 400, "prompt"),
        ("completions", {"model": "echo", "prompt": ["a"] * 33}, 400, "prompt"),
        ("completions", {"model": "echo", "prompt": ["a", "b"], "stream": True}, 400, "prompt"),
        ("completions", {"model": "vectors", "prompt": "a"}, 400, None),
        ("embeddings", {"model": "vectors", "input": [[1]]}, 400, "input"),
        ("embeddings", {"model": "vectors", "input": ["a"] * 2049}, 400, "input"),
        ("embeddings", {"model": "vectors", "input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
        ("embeddings", {"model": "vectors", "input": "a", "dimensions": 4}, 400, "dimensions"),
        ("embeddings", {"model": "echo", "input": "a"}, 400, None),
        ("embeddings", {"model": "plain", "input": "a"}, 400, None),
        ("embeddings", {"model": "labels", "input": "a"}, 400, None),
        ("completions", {"model": "labels", "prompt": "a"}, 400, None),
        ("completions", {"model": "objects", "prompt": "a"}, 400, None),
        ("completions", {"model": "images", "prompt": "a"}, 400, None),
        ("rerank", {"model": "ranks", "documents": ["a"]}, 400, "query"),
        ("rerank", {"model": "ranks", "query": "a", "documents": "a"}, 200, None),
        ("rerank", {"model": "ranks", "query": "a", "documents": [{}]}, 400, "documents"),
        ("rerank", {"model": "vectors", "query": "a", "documents": ["a"]}, 400, None),
        ("rerank", {"model": "ranks", "query": "a", "documents": ["a"], "top_n": 0}, 400, "top_n"),
    ],
    ids=lambda value: None,
)
async def test_refused(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, param: str | None
) -> None:
    answer = await http.post(f"/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    if status != 200 and body:
        error = answer.json()["error"]
        assert error["param"] == param
        assert error["type"] == "invalid_request_error"
        assert error["message"].endswith(".") or status == 404


def test_errors_of_options_name_their_field() -> None:
    told = error_body(400, 'Model writer: the option "top_p" must be a number from 0 to 1, not 2.')
    assert told["error"]["param"] == "top_p"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"model": ' + b"[" * 3000], ids=range(5))
async def test_bodies_that_are_no_objects(http: httpx.AsyncClient, content: bytes) -> None:
    answer = await http.post("/v1/chat/completions", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_other_paths(http: httpx.AsyncClient, client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="There is nothing at /v1/responses") as raised:
        await client.responses.create(model="echo", input="a")
    assert (raised.value.code, raised.value.param) == ("unknown_url", None)
    for path in ("/v2/models/none", "/v2/models/none/versions/v1/ready", "/nothing"):
        assert isinstance((await http.get(path)).json()["error"], str)
    wrong = await http.get("/v1/chat/completions")
    assert wrong.status_code == 405
    assert wrong.json()["error"]["type"] == "invalid_request_error"


async def test_errors_of_the_model(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="does not like this prompt"):
        await client.completions.create(model="echo", prompt="refuse")
    with pytest.raises(openai.BadRequestError, match="does not like this prompt"):
        await client.completions.create(model="echo", prompt="refuse", stream=True)
    with pytest.raises(openai.InternalServerError, match="full") as caught:
        await client.completions.create(model="echo", prompt="full")
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["retry-after"]) >= 1
    with pytest.raises(openai.InternalServerError, match="ZeroDivisionError"):
        await client.completions.create(model="echo", prompt="one break")
    assert (await client.completions.create(model="echo", prompt="still there")).choices[
        0
    ].text == "still there"


async def test_an_error_within_a_stream(client: Any) -> None:
    stream = await client.completions.create(model="echo", prompt="one break", stream=True)
    with pytest.raises(openai.APIError, match="ZeroDivisionError"):
        async for _ in stream:
            pass


async def test_a_client_that_leaves_a_stream(client: Any) -> None:
    stream = await client.completions.create(model="echo", prompt="a b", max_tokens=10**9, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await eventually("the stream is closed", lambda: "a b" in openai_models.closed, 60)


async def test_a_client_that_leaves_while_it_waits(http: httpx.AsyncClient) -> None:
    body = {"model": "echo", "prompt": "never ends", "max_tokens": 10**9}
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/v1/completions", json=body, timeout=3)
    await eventually("the stream is closed", lambda: "never ends" in openai_models.closed, 60)


async def test_a_deadline(http: httpx.AsyncClient) -> None:
    body = {"model": "echo", "prompt": "too late", "max_tokens": 10**9}
    answer = await http.post("/v1/completions", json=body, headers={"x-request-timeout": "3"})
    assert answer.status_code == 504
    assert answer.json()["error"]["type"] == "server_error"
    await eventually("the stream is closed", lambda: "too late" in openai_models.closed, 60)


async def test_many_at_once(client: Any) -> None:
    async def ask(number: int) -> str:
        if number % 2:
            whole = await client.completions.create(model="echo", prompt=f"the number {number}")
            return str(whole.choices[0].text)
        stream = await client.completions.create(model="echo", prompt=f"the number {number}", stream=True)
        return "".join([chunk.choices[0].text async for chunk in stream])

    found = await asyncio.gather(*map(ask, range(40)))
    assert found == [f"the number {number}" for number in range(40)]


async def test_events_as_they_are_sent(http: httpx.AsyncClient) -> None:
    body = {"model": "echo", "prompt": "é 😀", "stream": True}
    answer = await http.post("/v1/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert "".join(json.loads(one[6:])["choices"][0]["text"] for one in events[:-2]) == "é 😀"
