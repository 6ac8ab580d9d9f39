"""ModelStreamInfer over a real connection."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from mlsrv import MLModel, ModelSettings
from mlsrv.testing import SlowModel
from mlsrv_protocol.grpc import encode_request, message_class
from mlsrv_protocol.types import InferenceRequest, Parameters, RequestInput

InferResponse = message_class("inference.ModelInferResponse")
StreamResponse = message_class("inference.ModelStreamInferResponse")
METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
SECONDS = 20
EMPTY_FINAL = Parameters(triton_enable_empty_final_response=True)


def asking(model: str, number: int = 1, **fields: Any) -> bytes:
    tensor = RequestInput(name="x", shape=[1], datatype="INT64", data=np.array([number]))
    typed = fields.pop("typed", False)
    return encode_request(InferenceRequest([tensor], model_name=model, **fields), typed=typed)


class Conversation:
    """One stream: what is sent, and what comes back."""

    def __init__(self, served: Any, **options: Any) -> None:
        self._unsent: queue.Queue[bytes | None] = queue.Queue()
        self.call = served.channel.stream_stream(METHOD)(self._requests(), timeout=SECONDS, **options)

    def _requests(self) -> Iterator[bytes]:
        while (body := self._unsent.get()) is not None:
            yield body

    def send(self, *bodies: bytes) -> None:
        for body in bodies:
            self._unsent.put(body)

    def end(self) -> None:
        self._unsent.put(None)

    def next(self) -> Any:
        return StreamResponse.FromString(next(self.call))

    def rest(self) -> list[Any]:
        return [StreamResponse.FromString(body) for body in self.call]


@pytest.fixture
def converse(served: Any) -> Iterator[Any]:
    opened: list[Conversation] = []

    def start(kernel: Any = served, **options: Any) -> Conversation:
        opened.append(Conversation(kernel, **options))
        return opened[-1]

    yield start
    for conversation in opened:
        conversation.end()
        conversation.call.cancel()


def test_plain_responses_and_a_failure_that_ends_the_stream(
    serve: Any, converse: Any, counting: type[MLModel]
) -> None:
    plain = serve([ModelSettings(name="counting", implementation=counting)], grpc_stream_responses="plain")
    conversation = converse(plain)
    conversation.send(asking("counting", 2, id="a"))
    conversation.end()
    found = [InferResponse.FromString(body) for body in conversation.call]
    assert [(one.model_name, one.id) for one in found] == [("counting", "a")] * 2
    assert "triton_final_response" not in found[-1].parameters

    failing = converse(plain)
    failing.send(asking("counting", -1))
    assert InferResponse.FromString(next(failing.call)).model_name == "counting"
    with pytest.raises(grpc.RpcError) as caught:
        next(failing.call)
    assert caught.value.code() is grpc.StatusCode.INTERNAL


class Ordinary(SlowModel):
    """Has no stream of its own."""

    predict_stream = MLModel.predict_stream


def shown(message: Any) -> tuple[str, int | None, bool]:
    """The id, the number and whether it is the last one."""
    response = message.infer_response
    raw = response.raw_output_contents
    number = int.from_bytes(raw[0], "little") if len(raw) else None
    return response.id, number, bool(response.parameters["triton_final_response"].bool_param)


def test_responses_of_ordinary_models_come_in_the_order_of_their_requests(serve: Any, converse: Any) -> None:
    models = [
        ModelSettings(name=f"after {wait}", implementation=Ordinary, parameters={"extra": {"seconds": wait}})
        for wait in (0.3, 0.0)
    ]
    stream = converse(serve(models))
    stream.send(asking("after 0.3", 1, id="a"), asking("nope", id="b"), asking("after 0.0", 3, id="c"))
    stream.end()
    a, b, c = stream.rest()
    assert (shown(a), shown(c)) == (("a", 1, True), ("c", 3, True))
    assert (b.error_message, b.infer_response.id) == ("Model nope not found", "b")


def test_a_model_that_streams(converse: Any) -> None:
    stream = converse()
    stream.send(asking("counting", 3, id="a"))
    stream.end()
    assert [shown(message) for message in stream.rest()] == [("a", number, False) for number in range(3)]


def test_the_end_is_marked_for_those_who_ask(converse: Any) -> None:
    stream = converse()
    stream.send(asking("counting", 1, id="a", parameters=EMPTY_FINAL))
    stream.send(asking("counting", 0, id="b", parameters=EMPTY_FINAL))
    stream.end()
    messages = stream.rest()
    assert [shown(message) for message in messages if message.infer_response.id == "a"] == [
        ("a", 0, False),
        ("a", None, True),
    ]
    assert [shown(message) for message in messages if message.infer_response.id == "b"] == [("b", None, True)]
    assert {message.infer_response.model_name for message in messages} == {"counting"}


def test_typed_requests_get_typed_responses(converse: Any) -> None:
    stream = converse()
    stream.send(asking("counting", 2, typed=True), asking("counting", 1))
    stream.end()
    kinds = [len(message.infer_response.raw_output_contents) for message in stream.rest()]
    assert sorted(kinds) == [0, 0, 1]


def test_failures_leave_the_stream_open(converse: Any) -> None:
    stream = converse()
    stream.send(asking("counting", -1, id="a"))
    assert shown(stream.next()) == ("a", 0, False)
    failed = stream.next()
    assert "ValueError: no more numbers" in failed.error_message
    assert failed.infer_response.id == "a"
    for body, id_, says in (
        (b"\xff", "", "not a ModelInferRequest"),
        (asking("", id="7"), "7", "model_name is empty"),
        (asking("failing", id="8"), "8", "this model always fails"),
        (asking("unsendable", id="9"), "9", "data has 1 element"),
    ):
        stream.send(body)
        failed = stream.next()
        assert says in failed.error_message
        given = failed.infer_response.id
        assert given == id_ if id_ else len(given) == 32
    stream.send(asking("counting", 1, id="b"))
    assert shown(stream.next()) == ("b", 0, False)
    stream.end()
    assert stream.rest() == []


def test_the_first_failure_ends_the_stream_of_those_who_ask(converse: Any) -> None:
    stream = converse(metadata=[("triton_grpc_error", "true")])
    stream.send(asking("counting", 1), asking("nope"))
    with pytest.raises(grpc.RpcError):
        stream.rest()
    assert stream.call.code() is grpc.StatusCode.NOT_FOUND
    assert stream.call.details() == "Model nope not found"


def test_ids_and_headers(converse: Any) -> None:
    stream = converse(metadata=[("x-request-id", "mine")])
    stream.send(asking("counting", 1))
    assert stream.next().infer_response.id == "mine"
    stream.send(asking("counting", 1))
    assert stream.next().infer_response.id not in ("", "mine")
    texts = RequestInput(name="t", shape=[2], datatype="BYTES", data=[b"x-a", b"1"])
    stream.send(encode_request(InferenceRequest([texts], model_name="headers")))
    assert stream.next().infer_response.parameters["kept"].string_param == "yes"
    stream.end()
    assert stream.rest() == []
    assert ("x-a", "1") in list(stream.call.trailing_metadata())


def test_a_client_that_cancels_stops_the_generator(serve: Any, converse: Any, counting: Any) -> None:
    served = serve()
    stream = converse(served)
    stream.send(asking("counting", 10**9))
    stream.next()
    stream.call.cancel()

    async def closed() -> None:
        async with asyncio.timeout(SECONDS):
            await counting.closed.wait()

    served.do(closed())


def test_more_requests_than_are_worked_on_at_once(converse: Any) -> None:
    stream = converse()
    stream.send(*(asking("asked", id=str(number)) for number in range(300)))
    stream.end()
    assert [message.infer_response.id for message in stream.rest()] == [str(number) for number in range(300)]


def test_stopping_ends_idle_streams_and_finishes_requests(serve: Any, converse: Any, blocking: Any) -> None:
    served = serve()
    idle, busy = converse(served), converse(served)
    idle.send(asking("counting", 1))
    idle.next()
    busy.send(asking("blocking", id="a"))
    served.do(blocking.started.acquire())
    served.begin_to_stop()
    with pytest.raises(grpc.RpcError):
        idle.rest()
    assert idle.call.code() is grpc.StatusCode.UNAVAILABLE
    assert "stopping" in idle.call.details()
    served.loop.call_soon_threadsafe(blocking.go_on.set)
    assert busy.next().infer_response.id == "a"
    with pytest.raises(grpc.RpcError):
        busy.rest()
    served.stop()
