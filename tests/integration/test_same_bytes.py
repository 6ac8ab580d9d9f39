"""A model gives the same bytes with and without workers, with and without batching, over every wire."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import grpc
import httpx
import pytest
from attrs import define
from hypothesis import HealthCheck, given, settings
from kafka_asking import KafkaAsking
from mirrored import AT_ONCE, RAW_ONLY, SOURCE, answers, asking_for, inference_requests, own_values

from mlsrv import ModelSettings
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_batching.batcher import Batcher
from mlsrv_protocol import binary, json
from mlsrv_protocol.grpc import INFERENCE, decode_response, encode_request
from mock_broker import Mock
from served import HEADER, SECONDS, Served, served

WIRES = ("json", "binary", "raw", "kafka", "kafka binary")
OVER_HTTP = {"kafka": "json", "kafka binary": "binary"}
"""Wires with the same bodies as over HTTP."""
BATCHED = {"max_batch_size": 8, "max_batch_time": 0.02}
TRIES = 50
"""How often they are sent together until some of them were joined."""


@define
class Way:
    """One server, over one wire."""

    wire: str
    server: Served
    http: httpx.Client
    channel: grpc.Channel
    kafka: KafkaAsking

    def ask(self, request: InferenceRequest) -> bytes:
        """The body of the answer, whatever it is."""
        url = f"{self.server.rest}/v2/models/m/infer"
        if self.wire == "json":
            return self.http.post(url, content=json.encode_request(request)).content
        if self.wire == "binary":
            length, pieces = binary.encode_request(request)
            return self.http.post(url, content=b"".join(pieces), headers={HEADER: str(length)}).content
        if self.wire == "kafka":
            return self.kafka.ask("m", json.encode_request(request), {})
        if self.wire == "kafka binary":
            length, pieces = binary.encode_request(request)
            return self.kafka.ask("m", b"".join(pieces), {HEADER: str(length)})
        call = self.channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        try:
            return bytes(call(encode_request(request, typed=self.wire == "typed"), timeout=SECONDS))
        except grpc.RpcError as error:
            return f"{error.code()}: {error.details()}".encode()


@pytest.fixture(scope="module")
def ways() -> Iterator[dict[str, list[Way]]]:
    """By wire: with 0 and 2 workers, each without and with batching."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(90)

    async def start(workers: int, fields: dict[str, Any], kafka: KafkaAsking) -> Any:
        model = ModelSettings("m", "models.Mirror", source=SOURCE, **fields)
        found = await stack.enter_async_context(
            served([model], **kafka.settings() | {"parallel_workers": workers})
        )
        assert found.kernel.problems() == []
        return found

    broker = Mock()
    kafkas = [KafkaAsking(broker, f"server-{number}") for number in range(4)]
    kinds = [(workers, fields) for workers in (0, 2) for fields in ({}, BATCHED)]
    try:
        servers = [do(start(*kind, kafka)) for kind, kafka in zip(kinds, kafkas, strict=True)]
        https = [httpx.Client(timeout=SECONDS) for _ in servers]
        channels = [grpc.insecure_channel(server.grpc) for server in servers]
        yield {
            wire: [Way(wire, *each) for each in zip(servers, https, channels, kafkas, strict=True)]
            for wire in (*WIRES, "typed")
        }
        for one in (*https, *channels):
            one.close()
    finally:
        do(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        for kafka in kafkas:
            kafka.close()


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(request=inference_requests())
def test_the_same_request_has_the_same_answer(ways: dict[str, list[Way]], request: InferenceRequest) -> None:
    raw_only = any(tensor.datatype in RAW_ONLY for tensor in request.inputs)
    wires = [wire for wire in ways if wire != "typed" or not raw_only]
    found = {wire: answers(ways[wire], request) for wire in wires}
    assert {wire: len(each) for wire, each in found.items()} == dict.fromkeys(wires, 1), found
    for wire, same in OVER_HTTP.items():
        assert found[wire] == found[same]
    assert request.parameters is not None
    if "trouble" in request.parameters:
        assert all(b"refused" in answer or b"fails" in answer for each in found.values() for answer in each)
        return
    for wire in set(wires) - {"binary", "kafka binary"}:
        decode = json.decode_response if wire in ("json", "kafka") else decode_response
        response = decode(*found[wire])
        assert [output.name for output in response.outputs] == [one.name for one in request.inputs]
        for output, tensor in zip(response.outputs, request.inputs, strict=True):
            assert (output.shape, output.datatype) == (tensor.shape, tensor.datatype)
            assert as_texts(output.data) == as_texts(tensor.data)


REFUSED = {
    "object in parameters": b"JSON serializable: Opaque",
    "class in parameters": b"JSON serializable: type",
    "function in parameters": b"JSON serializable: function",
    "generator in parameters": b"JSON serializable: generator",
    "set in parameters": b"JSON serializable: set",
    "memoryview in parameters": b"JSON serializable: memoryview",
    "numbers as texts": b"BYTES takes only strings and bytes",
    "counts beyond their datatype": b"INT8 takes only whole numbers",
    "objects as data": b"cannot be sent as FP32",
    "masked integers": b"is masked",
    "wrong count": b"data has 2 elements",
}
"""Values that no answer in JSON can hold, and what the client is told."""


def test_values_of_the_models_own_classes_have_the_same_bytes(ways: dict[str, list[Way]]) -> None:
    values = own_values()

    def asked(name: str) -> dict[tuple[str, str], set[bytes]]:
        # One after the other, so that no two requests for the same value are joined.
        return {(name, wire): {way.ask(asking_for(name)) for way in ways[wire]} for wire in WIRES}

    with ThreadPoolExecutor(8) as threads:
        found = {wire: each for one in threads.map(asked, values) for wire, each in one.items()}
    different = {name_and_wire: each for name_and_wire, each in found.items() if len(each) != 1}
    assert not different, "\n".join(f"{where}: {each}" for where, each in different.items())
    for name in values:
        (answer,) = found[name, "json"]
        assert REFUSED.get(name, b'"outputs"') in answer, (name, answer)
    assert b'"v":"cat"' in next(iter(found["text enumeration in parameters", "json"]))
    assert b'"v":{"x":1,"y":2}' in next(iter(found["dataclass in parameters", "json"]))
    assert b'"v":[1,"b"]' in next(iter(found["named tuple in parameters", "json"]))
    assert b'"data":[0.5,null]' in next(iter(found["masked floats", "json"]))


def as_texts(data: Any) -> list[str]:
    return [one.decode() if isinstance(one, bytes) else str(one) for one in data]


def test_batches_did_form(ways: dict[str, list[Way]]) -> None:
    request = InferenceRequest([RequestInput("x", [1, 2], "FP32", [1.0, 2.0])], model_name="m")
    interceptors = [way.server.kernel.handle("m").loaded().interceptors for way in ways["json"]]
    batchers = [[one for one in found if isinstance(one, Batcher)] for found in interceptors]
    assert list(map(len, batchers)) == [0, 1, 0, 1]
    for way, (batcher,) in zip(ways["json"][1::2], batchers[1::2], strict=True):
        for _ in range(TRIES):
            answers([way], request)
            if any(decision["requests"] > 1 for decision in list(batcher.decisions)[-AT_ONCE:]):
                break
        else:
            pytest.fail("requests that came together were never joined")
