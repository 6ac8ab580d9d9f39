"""Records from Kafka in traces: a record, its request and its answer are spans of the trace that it names."""

from __future__ import annotations

import asyncio
from typing import Any

from confluent_kafka import Message

from collector import Collector, grpc_collector
from mlsrv import ModelSettings
from mlsrv.testing import EchoModel, FailingModel
from mock_broker import Mock
from served import served

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1.0,2.0]}]}'
TRACE, CALLER = "a" * 32, "b" * 16
MODELS = [
    ModelSettings(name="echo", implementation=EchoModel),
    ModelSettings(name="failing", implementation=FailingModel),
]


def headers_of(message: Message) -> dict[str, Any]:
    return {name: bytes(value or b"").decode() for name, value in message.headers() or []}


def settings(broker: Mock, collector: Collector) -> dict[str, Any]:
    return broker.settings(kafka_retries=0, tracing_server=collector.url, parallel_workers=0)


async def test_a_record_its_request_and_its_answer_are_one_trace() -> None:
    broker = Mock()
    await asyncio.to_thread(broker.create, "out", "errors")
    with grpc_collector() as collector:
        async with served(MODELS, **settings(broker, collector)):
            traceparent = f"00-{TRACE}-{CALLER}-01"
            broker.send(BODY, mlsrv_model="echo", traceparent=traceparent, tracestate="v=1")
            [answer] = [m for m in await asyncio.to_thread(broker.receive, "out", 2) if m.headers()]
            await asyncio.to_thread(collector.wait, lambda spans: len(spans) >= 4)
        [process], [send] = collector.named("process in"), collector.named("send out")
        [infer] = collector.named("infer echo")
    assert {process.trace, send.trace, infer.trace} == {TRACE}
    assert process.parent == CALLER
    assert send.parent == infer.parent == process.id
    assert (process.proto.kind, send.proto.kind) == (5, 4)  # consumer, producer
    topic, number, offset = headers_of(answer)["mlsrv-source"].split("/")
    assert process.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": number,
        "messaging.kafka.offset": int(offset),
        "messaging.consumer.group.name": "mlsrv",
    }
    assert send.attributes["messaging.operation.type"] == "send"
    assert send.attributes["messaging.destination.name"] == "out"
    assert headers_of(answer)["traceparent"] == f"00-{TRACE}-{send.id}-01"
    assert headers_of(answer)["tracestate"] == "v=1"


async def test_failures() -> None:
    broker = Mock()
    await asyncio.to_thread(broker.create, "out", "errors")
    with grpc_collector() as collector:
        async with served(MODELS, **settings(broker, collector)):
            broker.send(BODY, mlsrv_model="failing", traceparent=f"00-{TRACE}-{CALLER}-01")
            broker.send(b"junk", mlsrv_model="echo")
            broker.send(BODY, mlsrv_model="echo", traceparent=f"00-{'c' * 32}-{CALLER}-00")  # not recorded
            failed = [m for m in await asyncio.to_thread(broker.receive, "errors", 3) if m.headers()]
            await asyncio.to_thread(broker.receive, "out", 2)
            await asyncio.to_thread(
                collector.wait, lambda spans: sum(span.name == "process in" for span in spans) == 2
            )
        spans = {span.attributes["error.type"]: span for span in collector.named("process in")}
        assert len(collector.named("send errors")) == 2
    assert spans["INTERNAL"].failed
    assert spans["INTERNAL"].trace == TRACE
    assert not spans["INVALID_ARGUMENT"].failed  # that of the client
    assert spans["INVALID_ARGUMENT"].trace != TRACE
    codes = {headers_of(message)["mlsrv-error-code"]: headers_of(message) for message in failed}
    assert codes["INTERNAL"]["traceparent"] == f"00-{TRACE}-{CALLER}-01"  # the record is as it was
