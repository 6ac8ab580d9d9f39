"""Models that are served: over every wire, in worker processes, to clients of OpenAI, and as streams."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch
import transformers

import tiny_models
from mlsrv import ModelSettings
from mlsrv.codecs import NumpyCodec
from mlsrv.context import current_context
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, Parameters, RequestInput, RequestOutput
from mlsrv_huggingface.runners.generation import GenerationRunner
from mlsrv_huggingface.token_loop import TokenLoop
from mlsrv_testing.contracts.running import eventually
from served import WIRES, Served, served

SENTENCES = [
    "A man is eating food.",
    "A man eats something.",
    "The sky is full of stars tonight.",
    "How do I open a bank account in another country, and which papers do I need to bring along for it?",
]
PROMPT = "the red house is"


def settings(name: str, folder: Path, task: str, **more: Any) -> ModelSettings:
    parameters = {"uri": str(folder), "extra": {"task": task}}
    return ModelSettings(name=name, implementation="huggingface", parameters=parameters, **more)


def client_of(server: Served) -> Any:
    return openai.AsyncOpenAI(base_url=f"{server.rest}/v1", api_key="none", max_retries=0, timeout=60)


def direct(folder: Path, texts: list[str]) -> Any:
    """The embeddings of a model that is called one text at a time."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        with torch.inference_mode():
            row = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        rows.append(torch.nn.functional.normalize(row, dim=0).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("workers", [0, 1])
async def test_paraphrases_over_every_wire(minilm: Path, workers: int) -> None:
    expected = direct(minilm, SENTENCES)
    similar = expected @ expected.T
    assert similar[0, 1] > 0.7
    assert np.abs(similar[2, [0, 1, 3]]).max() < 0.25
    model = settings("minilm", minilm, "embedding", max_batch_size=32, max_batch_time=0.01)
    async with served([model], parallel_workers=workers) as server, client_of(server) as client:
        assert server.kernel.problems() == []
        for wire in WIRES:
            asked = text_request("minilm", SENTENCES, name="args")
            (output,) = (await server.infer(wire, asked)).outputs
            assert np.allclose(NumpyCodec.decode_output(output), expected, atol=1e-5)
        for form in ("float", "base64"):
            answer = await client.embeddings.create(model="minilm", input=SENTENCES, encoding_format=form)
            assert answer.usage.prompt_tokens > 40
            found = [
                one.embedding if form == "float" else np.frombuffer(base64.b64decode(one.embedding), "<f4")
                for one in answer.data
            ]
            assert np.allclose(np.array(found), expected, atol=1e-5)
        # Many clients at once, whose requests are joined.
        answers = await asyncio.gather(
            *(client.embeddings.create(model="minilm", input=SENTENCES[index % 4]) for index in range(24))
        )
        for index, answer in enumerate(answers):
            assert np.allclose(answer.data[0].embedding, expected[index % 4], atol=1e-5)


@pytest.fixture
async def server(folders: Any) -> AsyncIterator[Served]:
    """A server with a model that writes, and one that ranks."""
    models = [
        settings("writer", folders("writer"), "text-generation"),
        settings("endless", folders("endless"), "text-generation"),
        settings("ranker", folders("ranker"), "rerank"),
    ]
    async with served(models, executor="inline") as found:
        yield found


async def whole(server: Served, prompt: str, **options: Any) -> str:
    """The text that follows a prompt, not streamed."""
    asked = text_request("writer", [prompt], name="text_input")
    asked.parameters = Parameters(**options)
    asked.outputs = [RequestOutput("text_output")]
    (output,) = (await server.infer("json", asked)).outputs
    return str(output.data[0])


async def test_streams_have_the_text_of_whole_answers(server: Served) -> None:
    expected = await whole(server, PROMPT, max_new_tokens=20)
    async with httpx.AsyncClient(timeout=60) as http, client_of(server) as client:
        url = f"{server.rest}/v2/models/writer"
        body = {"text_input": PROMPT, "max_new_tokens": 20}
        lines = (await http.post(f"{url}/generate_stream", json=body)).text.split("\n\n")
        events = [json.loads(line[6:]) for line in lines if line]
        assert "".join(event["text_output"] for event in events) == expected
        reasons = [event["finish_reason"] for event in events]
        assert set(reasons[:-1]) <= {""}
        assert reasons[-1] == ("length" if events[-1]["completion_tokens"] == 20 else "stop")
        assert (await http.post(f"{url}/generate", json=body)).json()["text_output"] == expected
        stream = await client.completions.create(model="writer", prompt=PROMPT, max_tokens=20, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].text for chunk in chunks) == expected
        answer = await client.completions.create(model="writer", prompt=PROMPT, max_tokens=20, logprobs=2)
        assert answer.choices[0].text == expected
        # The token that ends the text has no place in it.
        ends = answer.choices[0].finish_reason == "stop"
        assert len(answer.choices[0].logprobs.tokens) == answer.usage.completion_tokens - ends
        body["logprobs"] = 2
        lines = (await http.post(f"{url}/generate_stream", json=body)).text.split("\n\n")
        told = [
            one for line in lines if line for one in json.loads(json.loads(line[6:]).get("logprobs", "[]"))
        ]
        assert len(told) == len(answer.choices[0].logprobs.tokens)
        # Without sampling, the likeliest token is taken.
        assert all(one["logprob"] == one["top"][0]["logprob"] >= one["top"][1]["logprob"] for one in told)


async def test_a_conversation(server: Served, folders: Any) -> None:
    messages: Any = [{"role": "user", "content": "who lives in paris?"}]
    pipe = transformers.pipeline("text-generation", str(folders("writer")), dtype="float32")
    expected = pipe(messages, max_new_tokens=8, do_sample=False)[0]["generated_text"][-1]["content"]
    async with client_of(server) as client:
        answer = await client.chat.completions.create(model="writer", messages=messages, max_tokens=8)
        assert answer.choices[0].message.content == expected
        assert 1 <= answer.usage.completion_tokens <= 8
        stream = await client.chat.completions.create(
            model="writer", messages=messages, max_tokens=8, stream=True
        )
        assert "".join([chunk.choices[0].delta.content async for chunk in stream]) == expected


async def test_stop_texts(server: Served) -> None:
    everything = await whole(server, PROMPT, max_new_tokens=20)
    found = re.search("[a-z]{2}", everything[1:])
    assert found is not None
    stop = found[0]
    expected = everything[: everything.index(stop)]
    assert await whole(server, PROMPT, max_new_tokens=20, stop=[stop]) == expected
    async with client_of(server) as client:
        answer = await client.completions.create(model="writer", prompt=PROMPT, max_tokens=20, stop=[stop])
        assert (answer.choices[0].text, answer.choices[0].finish_reason) == (expected, "stop")


async def test_seeds(server: Served, folders: Any) -> None:
    options = {"do_sample": True, "temperature": 1.5, "top_k": 40, "top_p": 0.9, "max_new_tokens": 12}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders("writer"))
    model = transformers.AutoModelForCausalLM.from_pretrained(folders("writer")).eval()
    encoded = tokenizer(PROMPT, return_tensors="pt")
    torch.manual_seed(7)
    made = model.generate(**encoded, **options, pad_token_id=tokenizer.eos_token_id)[0]
    prompt = encoded.input_ids.shape[1]
    expected = tokenizer.decode(made[prompt:], skip_special_tokens=True)
    assert await whole(server, PROMPT, seed=7, **options) == expected
    async with httpx.AsyncClient(timeout=60) as http:

        async def streamed(seed: int) -> str:
            body = {"text_input": PROMPT, "seed": seed, **options}
            answer = await http.post(f"{server.rest}/v2/models/writer/generate_stream", json=body)
            lines = [line for line in answer.text.split("\n\n") if line]
            return "".join(json.loads(line[6:])["text_output"] for line in lines)

        # Side by side, each with draws of its own.
        found = await asyncio.gather(*(streamed(seed) for seed in (7, 8, 7, 9, 7)))
    assert found[0] == found[2] == found[4] == expected
    assert len({found[0], found[1], found[3]}) > 1


async def test_rerank(server: Served) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        body = {"model": "ranker", "query": "who lives in paris?", "documents": tiny_models.TEXTS}
        answer = (await http.post(f"{server.rest}/v1/rerank", json=body)).json()
    asked = InferenceRequest(
        inputs=[
            RequestInput("query", [1], "BYTES", [body["query"]]),
            RequestInput("documents", [4], "BYTES", list(tiny_models.TEXTS)),
        ],
        model_name="ranker",
    )
    (output,) = (await server.infer("grpc", asked)).outputs
    scores = np.asarray(output.data, np.float32).reshape(-1)
    assert [one["index"] for one in answer["results"]] == np.argsort(-scores).tolist()
    assert answer["usage"]["prompt_tokens"] > 0


# --- streams that are left ----------------------------------------------------------------------------------


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the tokens that are made, and what they were when a stream was closed."""
    counts = {"made": 0, "closed": -1}
    make, stream = TokenLoop.next, GenerationRunner.stream

    def counting(self: TokenLoop) -> Any:
        counts["made"] += 1
        return make(self)

    def noting(self: GenerationRunner, given: Any) -> Any:
        try:
            yield from stream(self, given)
        finally:
            counts["closed"] = counts["made"]

    monkeypatch.setattr(TokenLoop, "next", counting)
    monkeypatch.setattr(GenerationRunner, "stream", noting)
    return counts


async def test_a_client_that_leaves_frees_the_model(server: Served, steps: dict[str, int]) -> None:
    async with client_of(server) as client:
        stream = await client.completions.create(
            model="endless", prompt=PROMPT, max_tokens=15000, stream=True
        )
        async for _ in stream:
            break
        await stream.close()
        await eventually("the stream is closed", lambda: steps["closed"] >= 0, 60)
        assert steps["closed"] < 15000
        await client.completions.create(model="endless", prompt=PROMPT, max_tokens=3)
        # Nothing has made tokens for the client that left.
        assert steps["made"] <= steps["closed"] + 3


async def test_a_client_that_leaves_costs_one_token(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that is being made while the client leaves is the last one."""
    make, stream = TokenLoop.next, GenerationRunner.stream
    made: list[bool] = []
    reached, closed = threading.Event(), threading.Event()

    def waiting(self: TokenLoop) -> Any:
        context = current_context.get()
        assert context is not None
        made.append(context.cancelled)
        if len(made) == 5:
            reached.set()
            end = time.monotonic() + 60
            while not context.cancelled and time.monotonic() < end:
                time.sleep(0.01)
        return make(self)

    def noting(self: GenerationRunner, given: Any) -> Any:
        try:
            yield from stream(self, given)
        finally:
            closed.set()

    monkeypatch.setattr(TokenLoop, "next", waiting)
    monkeypatch.setattr(GenerationRunner, "stream", noting)
    async with client_of(server) as client:
        left = await client.completions.create(model="endless", prompt=PROMPT, max_tokens=15000, stream=True)
        assert await asyncio.to_thread(reached.wait, 60)
        await left.close()
        assert await asyncio.to_thread(closed.wait, 90)
        assert made == [False] * 5
        answer = await client.completions.create(model="endless", prompt=PROMPT, max_tokens=2)
        assert answer.usage.completion_tokens == 2


async def test_a_deadline_frees_the_model(server: Served, steps: dict[str, int]) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        body = {"model": "endless", "prompt": PROMPT, "max_tokens": 15000}
        headers = {"x-request-timeout": "3"}
        answer = await http.post(f"{server.rest}/v1/completions", json=body, headers=headers)
        assert answer.status_code == 504
        await eventually("the stream is closed", lambda: steps["closed"] >= 0, 60)
        answer = await http.post(
            f"{server.rest}/v2/models/endless/infer",
            json={
                "inputs": [{"name": "args", "shape": [1], "datatype": "BYTES", "data": [PROMPT]}],
                "parameters": {"max_new_tokens": 15000},
            },
            headers=headers,
        )
        assert answer.status_code == 504
        # The model is free again, also after a text that was not streamed.
        answer = await http.post(f"{server.rest}/v1/completions", json=body | {"max_tokens": 2})
        assert answer.status_code == 200


async def test_streams_take_turns(server: Served, steps: dict[str, int]) -> None:
    """A short answer does not wait for the end of a long one."""
    async with client_of(server) as client:
        stream = await client.completions.create(
            model="endless", prompt=PROMPT, max_tokens=15000, stream=True
        )
        async for _ in stream:
            break
        answer = await client.completions.create(model="endless", prompt=PROMPT, max_tokens=3)
        assert answer.usage.completion_tokens == 3
        assert steps["made"] < 15000
        await stream.close()
