"""Every form of a request that goes through a real broker, and comes back in its own form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message, Producer

from brokers import new_name
from kafka_served import BODY, Server, Topics, header
from mlsrv_protocol import binary
from mlsrv_protocol.types import InferenceRequest

pytestmark = pytest.mark.timeout(180)
EVENT = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "t", "mlsrvmodel": "model"}
TEXT = json.dumps(BODY).encode()
STREAMING = """
from collections.abc import AsyncIterator

from models import Steady

class Streaming(Steady):
    async def predict_stream(self, payloads):
        async for payload in payloads:
            for _ in range(3):
                yield await self.predict(payload)
"""


def write(topics: Topics, *records: tuple[bytes, dict[str, str]]) -> None:
    """Write requests with one key, so that their answers come in their order."""
    producer = Producer(topics.broker.client())
    for value, headers in records:
        given: Any = [(name, text.encode()) for name, text in headers.items()]
        producer.produce(topics.input, value, b"k", headers=given)
    assert producer.flush(30) == 0


def answers(topics: Topics, count: int) -> list[Message]:
    return topics.read(topics.output, lambda found: len(found) >= count)


def test_json_binary_tensors_and_events(topics: Topics, start: Callable[..., Server]) -> None:
    server = start(topics)
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": np.float32([1, 2])}
    length, pieces = binary.encode_request(
        InferenceRequest([tensor], parameters={"binary_data_output": True})
    )
    write(
        topics,
        (TEXT, {"mlserver-model": "model", "x-request-id": "json"}),
        (b"".join(pieces), {"mlsrv-model": "model", "inference-header-content-length": str(length)}),
        (TEXT, {f"ce_{name}": text for name, text in EVENT.items()}),
        (json.dumps(EVENT | {"data": BODY}).encode(), {"content-type": "application/cloudevents+json"}),
    )
    plain, tensors, attributes, whole = answers(topics, 4)
    assert json.loads(plain.value() or b"")["outputs"][0]["data"] == [1.0, 2.0]
    assert header(plain, "x-request-id") == "json"
    size = int(header(tensors, "inference-header-content-length") or 0)
    response = binary.decode_response(tensors.value() or b"", size)
    assert response.outputs[0].data.tolist() == [1.0, 2.0]
    assert header(attributes, "ce_type") == "io.mlsrv.inference.response"
    assert json.loads(attributes.value() or b"")["id"] == "e1"
    assert header(whole, "content-type") == "application/cloudevents+json"
    event = json.loads(whole.value() or b"")
    assert (event["type"], event["data"]["id"]) == ("io.mlsrv.inference.response", "e1")
    assert event["data"]["outputs"][0]["data"] == [1.0, 2.0]
    assert {one.key() for one in (plain, tensors, attributes, whole)} == {b"k"}
    server.terminate()
    assert topics.committed() == 4


def test_topics_that_name_models(topics: Topics, start: Callable[..., Server]) -> None:
    """One server reads a plain topic and those of a pattern, and answers to the topic of the model."""
    mark = new_name("by")
    asked, answered = f"{mark}.model.in", f"{mark}.model.out"
    topics.broker.create_topics(asked, answered, partitions=1)
    given = [topics.input, f"{mark}.{{model}}.in"]
    server = start(topics, kafka_topic_input=given, kafka_topic_output=f"{mark}.{{model}}.out")
    write(topics, (TEXT, {"mlsrv-model": "model"}))
    producer = Producer(topics.broker.client())
    producer.produce(asked, TEXT, b"k")
    assert producer.flush(30) == 0
    found = topics.read(answered, lambda records: len(records) >= 2)
    sources = {(header(one, "mlsrv-source") or "").split("/")[0] for one in found}
    assert sources == {topics.input, asked}
    server.terminate()


def test_a_stream(topics: Topics, start: Callable[..., Server]) -> None:
    server = start(topics, {"implementation": "streaming.Streaming"}, code={"streaming.py": STREAMING})
    write(topics, *[(TEXT, {"mlsrv-model": "model", "mlsrv-method": "stream"})] * 2)
    found = answers(topics, 8)
    assert [header(one, "mlsrv-sequence") for one in found] == ["0", "1", "2", "3"] * 2
    assert [header(one, "mlsrv-end") for one in found] == [None, None, None, "true"] * 2
    assert len({header(one, "mlsrv-source") for one in found}) == 2
    server.terminate()
    assert topics.committed() == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(topics: Topics, start: Callable[..., Server], workers: int) -> None:
    """Records with different keys meet in one call of the model; each gets its own rows."""
    fields = {"implementation": "rows.Rows", "max_batch_size": 32, "max_batch_time": 0.2}
    server = start(topics, fields, code={"rows.py": ROWS}, parallel_workers=workers)
    producer = Producer(topics.broker.client())
    headers: Any = [("mlsrv-model", b"model")]
    for number in range(200):
        body = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [number]}]}
        producer.produce(topics.input, json.dumps(body), b"%d" % number, headers=headers)
    assert producer.flush(30) == 0
    found = {one.key(): json.loads(one.value() or b"")["outputs"][0]["data"] for one in answers(topics, 200)}
    assert {key: data[0] for key, data in found.items()} == {b"%d" % number: number for number in range(200)}
    assert max(data[1] for data in found.values()) > 1  # rows of one call
    server.terminate()
    assert topics.committed() == 200


ROWS = """
import asyncio

import numpy as np

from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Rows(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        await asyncio.sleep(0.02)  # others come meanwhile
        [tensor] = payload.inputs
        values = tensor.data.reshape(tensor.shape)
        result = np.hstack([values, np.full_like(values, len(values))])
        return InferenceResponse(outputs=[ResponseOutput("y", list(result.shape), "INT64", result)])
"""
