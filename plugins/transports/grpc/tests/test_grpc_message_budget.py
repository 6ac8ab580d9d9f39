"""Message budget: the requests that are held together are bounded in bytes, those of streams too."""

from __future__ import annotations

import queue
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import h2.events
import numpy as np
import pytest
from named_authorizer import NamedAuthorizer

import mlsrv
from mlsrv import MeterOffer, ModelSettings
from mlsrv.testing import EchoModel, MemoryMeter, Offering, tensor_request
from mlsrv_grpc import GrpcSettings, Service
from mlsrv_protocol.grpc import INFERENCE, encode_request, message_class

SECONDS = 20
ONE, ALL = 10**6, 2 * 10**6
LIMITS = {"grpc_max_message_length": ONE, "grpc_max_total_message_size": ALL}
METERED = Offering(MeterOffer("memory", MemoryMeter), name="memory")
UNCOUNTED = 2**16
RIGHTS: dict[str, Any] = {"all": {"infer": ["*"]}}
KEY = (("authorization", "Bearer all"),)

StreamResponse = message_class("inference.ModelStreamInferResponse")


def message(model: str, size: int, *, typed: bool = False) -> bytes:
    """A message of about `size` bytes."""
    request = tensor_request(model, np.zeros(size // 8 - 20))
    return encode_request(request, typed=typed)


def held(served: Any) -> int:
    """The bytes that count, as the refusal of a message says that leaves no room for any other."""
    body = message("echo", ONE)
    with pytest.raises(grpc.RpcError) as caught:
        served.method("ModelInfer")(body, timeout=SECONDS)
    return int(caught.value.details().split(" bytes of messages")[0].rpartition(" ")[2])


def rejected(served: Any) -> dict[str, float]:
    counts = served.kernel.meters["memory"].counts
    return {labels[3]: count for labels, count in counts.items() if labels[0] == "mlsrv_requests_rejected"}


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def answers(served: Any, body: bytes) -> bool:
    call = served.method("ModelInfer").future(body, timeout=SECONDS)
    assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return call.code() is grpc.StatusCode.OK


@pytest.fixture
def limited(serve: Any, blocking: Any) -> Any:
    models = [
        ModelSettings(name="echo", implementation=EchoModel),
        ModelSettings(name="blocking", implementation=blocking),
    ]
    return serve(models, plugins=[METERED], **LIMITS)


@pytest.mark.parametrize("typed", [False, True])
def test_requests_that_wait_for_their_answers_leave_no_room(limited: Any, blocking: Any, typed: bool) -> None:
    large = message("blocking", 900_000, typed=typed)
    waiting = [limited.method("ModelInfer").future(large, timeout=SECONDS) for _ in range(2)]
    for _ in waiting:
        limited.do(blocking.started.acquire())
    assert held(limited) == 2 * (len(large) - UNCOUNTED)
    with pytest.raises(grpc.RpcError) as caught:
        limited.method("ModelInfer")(message("echo", 600_000, typed=typed), timeout=SECONDS)
    error = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "The server is overloaded" in error.details()
    assert "grpc-retry-pushback-ms" in dict(error.trailing_metadata())
    assert rejected(limited) == {"grpc_bytes": 2}
    # Small ones go on, and so do large ones once there is room.
    assert answers(limited, message("echo", 60_000, typed=typed))
    waiting[0].cancel()
    wait_for(lambda: answers(limited, message("echo", 900_000, typed=typed)))
    limited.loop.call_soon_threadsafe(blocking.go_on.set)
    waiting[1].result(SECONDS)
    # Nothing stays counted, neither of answers nor of errors.
    wait_for(lambda: answers(limited, message("echo", 900_000)))
    for model in ("echo", "unknown", "echo", "unknown", "echo"):
        call = limited.method("ModelInfer").future(message(model, 900_000), timeout=SECONDS)
        assert call.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED


class Stream:
    """A stream that sends what it is told to."""

    def __init__(self, served: Any, **options: Any) -> None:
        self._unsent: queue.Queue[bytes | None] = queue.Queue()
        method = served.channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")
        self.call = method(iter(self._unsent.get, None), timeout=SECONDS, **options)

    def send(self, *bodies: bytes | None) -> None:
        for body in bodies:
            self._unsent.put(body)

    def next(self) -> Any:
        return StreamResponse.FromString(next(self.call))


def test_requests_of_streams_count_one_by_one(limited: Any, blocking: Any) -> None:
    large = message("blocking", 900_000)
    stream = Stream(limited)
    stream.send(large, large)
    for _ in range(2):
        limited.do(blocking.started.acquire())
    assert held(limited) == 2 * (len(large) - UNCOUNTED)
    stream.send(message("echo", 600_000), message("echo", 60_000))
    wait_for(lambda: rejected(limited) == {"grpc_bytes": 2})
    limited.loop.call_soon_threadsafe(blocking.go_on.set)
    answered = [stream.next() for _ in range(4)]
    problems = sorted(one.error_message.partition(":")[0] for one in answered)
    assert problems == ["", "", "", "The server is overloaded"]
    # They count no more although the stream goes on, and may send as many again.
    assert answers(limited, message("echo", 900_000))
    for _ in range(4):
        stream.send(message("echo", 900_000))
        assert stream.next().error_message == ""
        stream.send(message("unknown", 900_000))
        assert "unknown" in stream.next().error_message
    stream.send(None)
    assert list(stream.call) == []


def test_streams_that_are_cancelled_count_no_more(limited: Any, blocking: Any) -> None:
    large = message("blocking", 900_000)
    stream = Stream(limited)
    stream.send(large, large)
    for _ in range(2):
        limited.do(blocking.started.acquire())
    assert not answers(limited, message("echo", 900_000))
    stream.call.cancel()
    wait_for(lambda: answers(limited, message("echo", 900_000)))


def test_requests_of_guarded_calls_count(serve: Any, blocking: Any) -> None:
    models = [
        ModelSettings(name="echo", implementation=EchoModel),
        ModelSettings(name="blocking", implementation=blocking),
    ]
    served = serve(models, plugins=[NamedAuthorizer(RIGHTS)], **LIMITS)
    large, infer = message("blocking", 900_000), served.method("ModelInfer")
    waiting = [infer.future(large, timeout=SECONDS, metadata=KEY) for _ in range(2)]
    for _ in waiting:
        served.do(blocking.started.acquire())
    refused = infer.future(message("echo", 600_000), timeout=SECONDS, metadata=KEY)
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"{2 * (len(large) - UNCOUNTED)} bytes of messages" in refused.details()
    served.loop.call_soon_threadsafe(blocking.go_on.set)
    for one in waiting:
        one.result(SECONDS)
    wait_for(lambda: infer.future(large, timeout=SECONDS, metadata=KEY).code() is grpc.StatusCode.OK)


def test_messages_of_generated_code_count_by_their_size(serve: Any) -> None:
    kind = message_class("inference.ModelInferRequest")

    class Plugin:
        @mlsrv.hookimpl
        def mlsrv_grpc_services(self) -> Service:
            async def size(request: Any, rpc: Any) -> bytes:
                return str(request.ByteSize()).encode()

            handler = grpc.unary_unary_rpc_method_handler(size, request_deserializer=kind.FromString)
            return Service(
                "acme.Sizes", grpc.method_handlers_generic_handler("acme.Sizes", {"Size": handler})
            )

    limits = {"grpc_max_message_length": 10**5, "grpc_max_total_message_size": 10**5}
    served = serve([], plugins=[Plugin()], grpc_options={"grpc.max_receive_message_length": ONE}, **limits)
    body = message("any", 90_000)
    assert served.method("Size", "acme.Sizes")(body, timeout=SECONDS) == str(len(body)).encode()
    refused = served.method("Size", "acme.Sizes").future(message("any", 900_000), timeout=SECONDS)
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "0 bytes of messages" in refused.details()


@pytest.mark.parametrize("plugins", [[], [METERED]])
def test_a_stream_that_waits_for_its_client_keeps_no_message(
    serve: Any, open_call: Any, plugins: list[Any]
) -> None:
    served = serve([], plugins=plugins)
    body = message("unknown", 16_000)  # in one frame
    tracemalloc.start()
    try:
        with open_call(served.target, "ModelStreamInfer", body, end=False) as (client, connection):
            answered = False
            while not answered:
                events = connection.receive_data(client.recv(2**16))
                answered = any(isinstance(event, h2.events.DataReceived) for event in events)
                client.sendall(connection.data_to_send())
            wait_for(lambda: not any(0 <= trace.size - len(body) < 64 for trace in traces()))
    finally:
        tracemalloc.stop()


def traces() -> Sequence[tracemalloc.Trace]:
    return tracemalloc.take_snapshot().traces


def test_the_limit_is_never_less_than_one_message() -> None:
    assert GrpcSettings(grpc_max_total_message_size=10, grpc_max_message_length=20).total_limit == 20
    assert GrpcSettings(grpc_max_total_message_size=30, grpc_max_message_length=20).total_limit == 30
    assert GrpcSettings(grpc_max_total_message_size=1, grpc_max_message_length=None).total_limit == 2**32 - 1
