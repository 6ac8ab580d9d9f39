"""The transport from topic to topic: answers, streams, errors, order, readiness, metrics and the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message

import mlsrv
from mlsrv import CallContext, MLModel, ModelSettings
from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.errors import InferenceError, Overloaded, Unauthenticated
from mlsrv.testing import EchoModel, FailingModel
from mlsrv.types import InferenceRequest, InferenceResponse
from mlsrv_protocol import binary
from mlsrv_protocol import json as wire

TENSOR = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}
BODY = json.dumps({"inputs": [TENSOR]}).encode()
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def headers_of(message: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers() or []}  # type: ignore[union-attr]


class Counting(EchoModel):
    """Streams three responses, or fails after two."""

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for number in range(3):
                if number == 2 and payload.id == "breaks":
                    raise InferenceError("no more")
                yield InferenceResponse(outputs=[{**TENSOR, "data": [number, number]}])


class Picky(EchoModel):
    """Fails the first attempts at a request, as its id says."""

    attempts: dict[str, int] = {}

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        count = self.attempts[payload.id or ""] = self.attempts.get(payload.id or "", 0) + 1
        kind, _, failures = (payload.id or "").partition("-")
        if count <= int(failures or 0):
            if kind == "busy":
                raise Overloaded("try again")
            raise RuntimeError("bad luck")
        return await super().predict(payload)


class Gated(EchoModel):
    """Answers when it may."""

    gate = asyncio.Event()
    begun = 0

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        Gated.begun += 1
        await self.gate.wait()
        return await super().predict(payload)


def model(name: str, implementation: type[MLModel], **more: Any) -> ModelSettings:
    return ModelSettings(name=name, implementation=implementation, **more)


async def receive(mock: Any, topic: str, count: int) -> list[Message]:
    return await asyncio.to_thread(mock.receive, topic, count)


async def until(condition: Any, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_answers_keep_key_id_and_trace(mock: Any, serving: Any) -> None:
    async with serving(mock.settings(kafka_copy_headers=["Tenant"])):
        mock.send(
            BODY,
            key=b"k",
            mlserver_model="echo",
            x_request_id="one",
            traceparent=TRACE,
            tenant="t",
            other="o",
        )
        [answer] = await receive(mock, "out", 1)
        assert answer.key() == b"k"
        assert headers_of(answer) == {
            "content-type": "application/json",
            "x-request-id": "one",
            "mlsrv-model": "echo",
            "mlsrv-source": headers_of(answer)["mlsrv-source"],
            "traceparent": TRACE,
            "tenant": "t",
        }
        assert headers_of(answer)["mlsrv-source"].startswith("in/")
        response = wire.decode_response(answer.value())
        assert response.id == "one"
        assert response.outputs[0].data.tolist() == [1.0, 2.0]
    assert mock.committed("in") == 1  # the last commit comes with the end


async def test_a_record_without_a_key_gets_its_id(mock: Any, serving: Any) -> None:
    async with serving(mock.settings()):
        mock.send(BODY, mlsrv_model="echo", x_request_id="seven")
        assert (await receive(mock, "out", 1))[0].key() == b"seven"


async def test_binary_tensors_go_both_ways(mock: Any, serving: Any) -> None:
    array = np.float32([[1, 2], [3, 4]])
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": array.ravel()}
    length, pieces = binary.encode_request(InferenceRequest([tensor]))
    async with serving(mock.settings()):
        mock.send(b"".join(pieces), mlsrv_model="echo", inference_header_content_length=str(length))
        [answer] = await receive(mock, "out", 1)
        found = headers_of(answer)
        assert found["content-type"] == "application/octet-stream"
        response = binary.decode_response(answer.value(), int(found[binary.HEADER]))
        assert response.outputs[0].data.tolist() == [1, 2, 3, 4]


async def test_an_event_is_answered_by_an_event(mock: Any, serving: Any) -> None:
    event = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "t", "mlsrvmodel": "echo"}
    async with serving(mock.settings(server_name="me")):
        whole = event | {"data": {"inputs": [TENSOR]}}
        mock.send(json.dumps(whole).encode(), content_type="application/cloudevents+json")
        [answer] = await receive(mock, "out", 1)
        found = json.loads(answer.value())
        assert headers_of(answer)["content-type"] == "application/cloudevents+json"
        assert (found["specversion"], found["source"]) == ("1.0", "/me")
        assert found["id"] == headers_of(answer)["mlsrv-source"]
        assert found["data"]["id"] == "e1"
        assert found["data"]["outputs"][0]["data"] == [1.0, 2.0]
        mock.send(BODY, **{f"ce_{name}": text for name, text in event.items()})
        both = await receive(mock, "out", 2)
        [binary_mode] = [found for found in both if "ce_id" in headers_of(found)]
        assert headers_of(binary_mode)["ce_type"] == "io.mlsrv.inference.response"
        assert wire.decode_response(binary_mode.value()).id == "e1"


async def test_a_stream_is_several_records(mock: Any, serving: Any) -> None:
    async with serving(mock.settings(), model("counting", Counting)):
        mock.send(BODY, key=b"k", mlsrv_model="counting", mlsrv_method="stream", x_request_id="whole")
        found = await receive(mock, "out", 4)
        assert [headers_of(one)["mlsrv-sequence"] for one in found] == ["0", "1", "2", "3"]
        assert [headers_of(one).get("mlsrv-end") for one in found] == [None, None, None, "true"]
        assert {one.key() for one in found} == {b"k"}
        responses = [wire.decode_response(one.value()) for one in found]
        assert [float(one.outputs[0].data[0]) for one in responses[:3]] == [0, 1, 2]
        assert responses[3].outputs == []
        mock.send(BODY, key=b"k", mlsrv_model="counting", mlsrv_method="stream", x_request_id="breaks")
        end = (await receive(mock, "out", 7))[-1]
        assert headers_of(end)["mlsrv-sequence"] == "2"
        assert headers_of(end)["mlsrv-error-code"] == "INVALID_ARGUMENT"
        [failed] = await receive(mock, "errors", 1)
        assert headers_of(failed)["mlsrv-error-message"] == "no more"


async def test_what_cannot_be_answered_goes_to_the_error_topic(mock: Any, serving: Any) -> None:
    async with serving(mock.settings()) as kernel:
        mock.send(b"junk", key=b"k", mlsrv_model="echo", x_request_id="r", own="mine")
        [failed] = await receive(mock, "errors", 1)
        assert (failed.key(), failed.value()) == (b"k", b"junk")
        found = headers_of(failed)
        assert found["own"] == "mine"
        assert found["mlsrv-error-code"] == "INVALID_ARGUMENT"
        assert "JSON" in found["mlsrv-error-message"]
        assert found["__connect.errors.topic"] == "in"
        assert found["__connect.errors.exception.class.name"] == "InvalidPayload"
        mock.send(BODY, key=b"k", mlsrv_model="nobody")
        again = (await receive(mock, "errors", 2))[1]
        assert headers_of(again)["mlsrv-error-code"] == "NOT_FOUND"
        mock.send(BODY, key=b"k", mlsrv_model="echo")  # the partition goes on
        await receive(mock, "out", 1)
        assert kernel.problems() == []
    assert mock.committed("in") == 3


async def test_without_an_error_topic_records_are_skipped_and_logged(
    mock: Any, serving: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(mock.settings(kafka_topic_errors=None)):
        mock.send(b"junk", key=b"k", mlsrv_model="echo")
        mock.send(BODY, key=b"k", mlsrv_model="echo")
        await receive(mock, "out", 1)
    assert mock.committed("in") == 2
    [line] = [one.getMessage() for one in caplog.records if "skipped" in one.getMessage()]
    assert "in/" in line
    assert "JSON" in line


async def test_bad_luck_is_tried_again_and_overload_waits(mock: Any, serving: Any) -> None:
    async with serving(mock.settings(kafka_retries=2), model("picky", Picky)):
        for request_id in ("busy-5", "unlucky-2", "hopeless-3"):
            mock.send(BODY, mlsrv_model="picky", x_request_id=request_id)
        answered = await receive(mock, "out", 2)
        assert sorted(headers_of(one)["x-request-id"] for one in answered) == ["busy-5", "unlucky-2"]
        [failed] = await receive(mock, "errors", 1)
        assert headers_of(failed)["x-request-id"] == "hopeless-3"
        assert headers_of(failed)["mlsrv-error-code"] == "INTERNAL"
        assert Picky.attempts == {"busy-5": 6, "unlucky-2": 3, "hopeless-3": 3}


async def test_an_answer_that_is_too_large_is_an_error(mock: Any, serving: Any) -> None:
    numbers = list(range(2000))
    tensor = {"name": "x", "shape": [2000], "datatype": "INT64", "data": numbers}
    body = json.dumps({"inputs": [tensor]}).encode()
    producer = {"message.max.bytes": 4000}
    async with serving(mock.settings(kafka_producer=producer)):
        mock.send(body, key=b"k", mlsrv_model="echo", x_request_id="big")
        mock.send(BODY, key=b"k", mlsrv_model="echo")
        await receive(mock, "out", 1)
        [failed] = await receive(mock, "errors", 1)
        assert headers_of(failed)["mlsrv-error-code"] == "TOO_LARGE"
        assert failed.value() is None  # the error topic does not take it either
        assert "mlsrv-value-omitted" in headers_of(failed)


async def test_topics_name_models(mock: Any, serving: Any) -> None:
    settings = mock.settings(
        kafka_topic_input=["in", "models.{model}.in"], kafka_topic_output="models.{model}.out"
    )
    mock.send(BODY, topic="models.one.in")
    mock.send(BODY, topic="models.two.in")
    async with serving(settings, model("one", EchoModel), model("two", EchoModel)):
        for name in ("one", "two"):
            [answer] = await receive(mock, f"models.{name}.out", 1)
            assert headers_of(answer)["mlsrv-model"] == name


async def test_the_deadline_of_a_client(mock: Any, serving: Any) -> None:
    Gated.gate, Gated.begun = asyncio.Event(), 0
    async with serving(mock.settings(), model("gated", Gated)):
        mock.send(BODY, mlsrv_model="gated", mlsrv_timeout="0.5")
        [failed] = await receive(mock, "errors", 1)
        assert headers_of(failed)["mlsrv-error-code"] == "DEADLINE_EXCEEDED"
        assert Gated.begun == 1


async def test_what_is_in_work_at_the_stop_is_answered_and_the_rest_left(mock: Any, serving: Any) -> None:
    Gated.gate, Gated.begun = asyncio.Event(), 0
    async with serving(
        mock.settings(kafka_concurrency=2, shutdown_timeout=30.0), model("gated", Gated)
    ) as kernel:
        mock.send(*[BODY] * 10, key=None, mlsrv_model="gated")
        await until(lambda: Gated.begun == 2)
        [transport] = kernel.transports.values()
        asyncio.get_running_loop().call_later(0.5, Gated.gate.set)
        await transport.stop(30.0)
        assert Gated.begun == 2
    assert len(await receive(mock, "out", 2)) == 2
    assert mock.committed("in") <= 2
    async with serving(mock.settings(), model("gated", Gated)):
        found = await receive(mock, "out", 10)
    sources = [headers_of(one)["mlsrv-source"] for one in found]
    assert len(set(sources)) == 10
    assert mock.committed("in") == 10


async def test_a_stop_that_is_too_short_loses_nothing(mock: Any, serving: Any) -> None:
    Gated.gate, Gated.begun = asyncio.Event(), 0
    async with serving(mock.settings(shutdown_timeout=0.1), model("gated", Gated)):
        mock.send(*[BODY] * 5, mlsrv_model="gated")
        await until(lambda: Gated.begun == 5)
    assert mock.committed("in") == 0
    Gated.gate.set()
    async with serving(mock.settings(), model("gated", Gated)):
        await receive(mock, "out", 5)
    assert mock.committed("in") == 5


async def test_readiness(serving: Any) -> None:
    nowhere = {"kafka_enabled": True, "kafka_servers": "127.0.0.1:9", "kafka_unready_after": 0.2}
    async with serving(nowhere) as kernel:
        await until(lambda: not kernel.ready)
        await until(lambda: "127.0.0.1:9" in str(kernel.transports["kafka"].problem))
    async with serving(nowhere | {"kafka_unready_after": None}) as kernel:
        await asyncio.sleep(0.5)
        assert kernel.ready


async def test_a_server_stops_at_once_without_a_broker(serving: Any) -> None:
    async with serving({"kafka_enabled": True, "kafka_servers": "127.0.0.1:9", "shutdown_timeout": 5.0}):
        began = time.monotonic()
    assert time.monotonic() - began < 15


async def test_the_kernel_meets_the_records(mock: Any, serving: Any) -> None:
    """Admission, statistics and the context are those of every other transport."""
    seen: list[CallContext] = []

    class Looking(EchoModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            from mlsrv.context import current_context

            context = current_context.get()
            assert context is not None
            seen.append(context)
            return await super().predict(payload)

    async with serving(mock.settings(), model("looking", Looking), model("failing", FailingModel)) as kernel:
        mock.send(BODY, mlsrv_model="looking", x_request_id="r")
        await receive(mock, "out", 1)
        assert (seen[0].transport, seen[0].request_id) == ("kafka", "r")
        assert kernel.statistics("looking")[0]["inference_stats"]["success"]["count"] == 1
        assert kernel.transports["kafka"].endpoints == (f"kafka://{mock.servers}",)


class Doorkeeper(Authorizer):
    """Lets those in that know the word, to the model "echo"."""

    async def authorize(self, access: AccessRequest) -> Principal:
        if access.headers.get("authorization") != "Bearer word":
            raise Unauthenticated("Say the word.")
        return Principal("friend", {"infer": ["echo"]})


class Doors:
    """A plugin with an authorizer."""

    @mlsrv.hookimpl
    def mlsrv_authorize(self, kernel: object) -> Authorizer:
        return Doorkeeper()


async def test_only_those_are_answered_who_may_ask(mock: Any, serving: Any) -> None:
    models = [model("echo", EchoModel), model("other", EchoModel)]
    async with serving(mock.settings(), *models, plugins=[Doors()]):
        word = {"authorization": "Bearer word"}
        mock.send(BODY, mlsrv_model="echo", x_request_id="in", **word)
        mock.send(BODY, mlsrv_model="echo", x_request_id="out")
        mock.send(BODY, mlsrv_model="other", x_request_id="wrong", **word)
        [answer] = await receive(mock, "out", 1)
        assert headers_of(answer)["x-request-id"] == "in"
        assert "authorization" not in headers_of(answer)
        failed = await receive(mock, "errors", 2)
        codes = {headers_of(one)["x-request-id"]: headers_of(one)["mlsrv-error-code"] for one in failed}
        assert codes == {"out": "UNAUTHENTICATED", "wrong": "PERMISSION_DENIED"}
