"""Streams of responses and ``generate``, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from mlsrv import MLModel, ModelSettings
from mlsrv.errors import InferenceError
from mlsrv.handlers import custom_handler
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput

TENSOR: dict[str, Any] = {"name": "text_input", "shape": [1], "datatype": "BYTES"}
BODY = {"id": "s", "inputs": [{**TENSOR, "data": ["one two three"]}]}
INPUTS = [{"name": "text_input", "datatype": "BYTES", "shape": [1]}]


def words(payload: InferenceRequest) -> list[str]:
    return str(payload.inputs[0].data[0]).split()


def response(text: str) -> InferenceResponse:
    output = ResponseOutput("text_output", [1], "BYTES", [text])
    headers = {"x-model": "w\r\nx-split: 1" if text == "split_headers" else "w"}
    return InferenceResponse(outputs=[output], parameters=Parameters(headers=headers))


class Words(MLModel):
    """Streams the words of a text; `bad` fails, `split_headers` has invalid headers, `wait` waits to be
    closed."""

    closed: ClassVar[asyncio.Event]

    async def load(self) -> bool:
        type(self).closed = asyncio.Event()
        return True

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        try:
            async for payload in payloads:
                for word in words(payload):
                    if word == "bad":
                        raise ValueError("a bad word")
                    if word == "refused":
                        raise InferenceError("this word is refused")
                    if word == "unsendable":
                        yield InferenceResponse(outputs=[ResponseOutput("y", [3], "FP32", [1.0])])
                    if word == "wait":
                        await asyncio.Event().wait()
                    yield response(word)
        finally:
            type(self).closed.set()

    @custom_handler("/wait")
    async def wait(self) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            type(self).closed.set()
        return ""


MODELS = [ModelSettings(name="words", implementation=Words, inputs=INPUTS)]


def asked(text: str) -> dict[str, Any]:
    return {"inputs": [{**TENSOR, "data": [text]}]}


def events(text: str) -> list[dict[str, Any]]:
    assert text.endswith("\n\n")
    return [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n")[:-1]]


async def test_each_response_is_an_event(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        for name in ("infer_stream", "generate_stream"):
            answer = await served.client.post(f"/v2/models/words/{name}", json=BODY)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert answer.headers["x-model"] == "w"
            found = events(answer.text)
            assert [event["outputs"][0]["data"] for event in found] == [["one"], ["two"], ["three"]]
            assert {event["id"] for event in found} == {"s"}
            assert "headers" not in answer.text


async def test_generate_takes_and_gives_plain_values(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        body = {"text_input": "hello", "temperature": 0.5, "parameters": {"top_p": 1}}
        answer = await served.client.post("/v2/models/words/generate", json=body)
        assert answer.status_code == 200
        assert answer.json()["text_output"] == "hello"
        assert answer.json()["model_name"] == "words"
        stream = await served.client.post("/v2/models/words/generate_stream", json={"text_input": "a b"})
        assert [event["text_output"] for event in events(stream.text)] == ["a", "b"]
        several = await served.client.post("/v2/models/words/generate", json={"text_input": "a b"})
        assert several.status_code == 501


async def test_an_error_before_the_first_event_is_an_ordinary_one(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        for path, body, status in (
            ("words/infer_stream", asked("refused"), 400),
            ("words/infer_stream", asked("bad"), 500),
            ("nope/infer_stream", BODY, 404),
            ("words/infer_stream", {"inputs": 1}, 400),
            ("words/infer_stream", {"inputs": []}, 400),
            ("words/generate", {"text_input": 5}, 400),
            ("words/generate", {"text_input": "x", "id": 5}, 400),
        ):
            answer = await served.client.post(f"/v2/models/{path}", json=body)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/json"
            assert "Traceback" not in answer.json()["error"]


@pytest.mark.parametrize("path", ["infer_stream", "generate_stream"])
async def test_a_first_response_without_a_json_form_is_an_ordinary_error(serve: Any, path: str) -> None:
    async with serve(models=MODELS) as served:
        answer = await served.client.post(f"/v2/models/words/{path}", json=asked("unsendable wait"))
        assert answer.status_code == 500
        assert answer.json() == {"error": 'outputs[0] "y": data has 1 element, but shape [3] means 3.'}
        assert Words.closed.is_set()
        answer = await served.client.post(f"/v2/models/words/{path}", json=asked("good unsendable never"))
        assert answer.status_code == 200
        assert [set(event) for event in events(answer.text)][1:] == [{"error"}]


async def test_an_error_after_the_first_event_is_an_event(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        answer = await served.client.post("/v2/models/words/infer_stream", json=asked("good bad never"))
        assert answer.status_code == 200
        first, last = events(answer.text)
        assert first["outputs"][0]["data"] == ["good"]
        assert "ValueError" in last["error"]


async def test_a_model_without_streams_answers_with_one_event(serve: Any) -> None:
    async with serve() as served:
        answer = await served.client.post("/v2/models/my%20%C3%A9/infer_stream", json=BODY)
        assert len(events(answer.text)) == 1


async def test_a_client_that_disconnects_stops_the_generator(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        async with served.client.stream(
            "POST", "/v2/models/words/infer_stream", json=asked("a wait")
        ) as answer:
            async for line in answer.aiter_lines():
                if line:
                    break
        async with asyncio.timeout(10):
            await Words.closed.wait()
        assert (await served.client.get("/v2/health/live")).status_code == 200


@pytest.mark.parametrize("path", ["infer_stream", "generate_stream"])
async def test_invalid_headers_of_the_first_response_stop_the_generator(serve: Any, path: str) -> None:
    async with serve(models=MODELS) as served:
        answer = await served.client.post(f"/v2/models/words/{path}", json=asked("split_headers wait"))
        assert answer.status_code == 500
        assert "header" in answer.json()["error"]
        assert "x-split" not in answer.headers
        assert Words.closed.is_set()


@pytest.mark.parametrize("path", ["infer_stream", "generate_stream", "generate", "wait"])
async def test_a_client_that_disconnects_before_the_answer_stops_the_model(serve: Any, path: str) -> None:
    async with serve(models=MODELS) as served:
        wire = await served.wire()
        body = json.dumps(asked("wait")).encode()
        head = f"POST /v2/models/words/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        await wire.send(head.encode(), body)
        handle = served.kernel.handle("words")
        async with asyncio.timeout(20):
            while not handle.loaded().in_flight:
                await asyncio.sleep(0.01)
            await wire.close()
            await Words.closed.wait()
        assert (await served.client.get("/v2/health/ready")).status_code == 200


async def test_infer_of_a_model_that_only_streams_is_not_implemented(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        answer = await served.client.post("/v2/models/words/infer", json=BODY)
        assert answer.status_code == 501
