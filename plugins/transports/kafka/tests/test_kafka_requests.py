"""Requests: model, version, method, id, deadline and trace of a record; what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from mlsrv import Kernel, ModelSettings
from mlsrv.errors import InvalidPayload, ModelNotFound
from mlsrv.testing import EchoModel
from mlsrv.types import InferenceRequest, MetadataTensor
from mlsrv_kafka.partition import Partition, Record
from mlsrv_kafka.requests import RequestReader, id_of
from mlsrv_kafka.topics import InputTopics
from mlsrv_protocol import binary
from mlsrv_protocol.json import encode_request

INPUTS = [MetadataTensor("x", "FP32", [-1, 2])]
M = {"mlsrv_model": "m"}
NOTHING = b'{"inputs": []}'
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture
async def reader() -> AsyncIterator[RequestReader]:
    models = [ModelSettings(name="raw", implementation=EchoModel, inputs=INPUTS)]
    async with Kernel({"executor": "inline"}, models=models, block=["workers"]) as kernel:
        await kernel.loaded()
        made = RequestReader(kernel, InputTopics(["in", "models.{model}.in"]))
        yield made
        made.close()


@pytest.mark.parametrize("prefix", ["mlserver", "mlsrv", "MLServer"])
async def test_the_headers_of_mlserver_and_ours(
    reader: RequestReader, record: Callable[..., Record], prefix: str
) -> None:
    one = record(**{f"{prefix}-model": "m", f"{prefix}-version": "v1"})
    asked = await reader.read(one)
    assert (asked.request.model_name, asked.request.model_version) == ("m", "v1")
    assert asked.request.inputs[0].data.tolist() == [1.0, 2.0]
    assert asked.context.transport == "kafka"
    assert asked.request.parameters is not None
    assert asked.request.parameters.headers is not None
    assert asked.request.parameters.headers[f"{prefix.lower()}-model"] == "m"
    assert not asked.streams


async def test_the_topic_names_the_model(reader: RequestReader, record: Callable[..., Record]) -> None:
    by_topic = record(partition=Partition("models.iris.in", 0))
    assert (await reader.read(by_topic)).request.model_name == "iris"
    by_header = record(partition=Partition("models.iris.in", 0), mlsrv_model="other")
    assert (await reader.read(by_header)).request.model_name == "other"


@pytest.mark.parametrize(
    ("headers", "key", "expected"),
    [
        ({"x_request_id": "one"}, b"k", "one"),
        ({"mlsrv_id": "two", "x_request_id": "one"}, b"k", "two"),
        ({"ce_specversion": "1.0", "ce_id": "three"}, b"k", "three"),
        ({}, b"k", "k"),
        ({"x_request_id": "x" * 201}, None, None),
        ({}, b"", None),
        ({}, b"\xff", "\ufffd"),
    ],
)
async def test_the_id(
    reader: RequestReader,
    record: Callable[..., Record],
    headers: dict[str, str],
    key: bytes | None,
    expected: str | None,
) -> None:
    headers = {name if name.startswith("ce_") else name.replace("_", "-"): v for name, v in headers.items()}
    one = record(key=key, mlsrv_model="m")
    one.headers += [(name, text.encode()) for name, text in headers.items()]
    asked = await reader.read(one)
    assert asked.request.id == asked.context.request_id
    assert asked.request.id == expected or (expected is None and len(asked.request.id or "") == 32)
    assert id_of(one) == expected


async def test_the_id_of_the_body_goes_first(reader: RequestReader, record: Callable[..., Record]) -> None:
    body = json.dumps({"id": "body", "inputs": []}).encode()
    asked = await reader.read(record(body, key=b"k", mlsrv_model="m", x_request_id="header"))
    assert asked.context.request_id == "body"


async def test_the_deadline_counts_from_the_reading(
    reader: RequestReader, record: Callable[..., Record]
) -> None:
    one = record(mlsrv_model="m", mlsrv_timeout="2.5")
    one.taken = time.monotonic() - 1
    assert (await reader.read(one)).context.deadline == one.taken + 2.5
    for wrong in ("0", "-1", "nan", "inf", "soon"):
        with pytest.raises(InvalidPayload, match="mlsrv-timeout"):
            await reader.read(record(mlsrv_model="m", mlsrv_timeout=wrong))


async def test_the_trace(reader: RequestReader, record: Callable[..., Record]) -> None:
    asked = await reader.read(record(mlsrv_model="m", traceparent=TRACE, tracestate="a=b"))
    assert asked.context.trace == {"traceparent": TRACE, "tracestate": "a=b"}
    one = record(mlsrv_model="m")
    one.headers += [("ce_specversion", b"1.0"), ("ce_traceparent", TRACE.encode())]
    assert (await reader.read(one)).context.trace == {"traceparent": TRACE}
    assert (await reader.read(record(mlsrv_model="m", tracestate="a=b"))).context.trace == {}


@pytest.mark.parametrize(
    ("method", "streams"),
    [("infer", False), ("modelInfer", False), ("stream", True), ("generate_stream", True)],
)
async def test_the_method(
    reader: RequestReader, record: Callable[..., Record], method: str, streams: bool
) -> None:
    assert (await reader.read(record(mlserver_model="m", mlserver_method=method))).streams is streams


async def test_binary_tensors(reader: RequestReader, record: Callable[..., Record]) -> None:
    array = np.arange(2**16, dtype=np.float32)
    tensor = {"name": "x", "shape": [2**16], "datatype": "FP32", "data": array}
    length, pieces = binary.encode_request(InferenceRequest([tensor]))
    body = b"".join(pieces)
    asked = await reader.read(record(body, mlsrv_model="m", inference_header_content_length=str(length)))
    assert np.array_equal(asked.request.inputs[0].data, array)
    assert "y" in asked.wanted


async def test_a_large_value_is_decoded_in_a_thread(
    reader: RequestReader, record: Callable[..., Record]
) -> None:
    numbers = list(range(2**16))
    body = json.dumps({"inputs": [{"name": "x", "shape": [2**16], "datatype": "INT64", "data": numbers}]})
    asked = await reader.read(record(body.encode(), mlsrv_model="m"))
    assert asked.request.inputs[0].data.tolist() == numbers


async def test_a_raw_body(reader: RequestReader, record: Callable[..., Record]) -> None:
    body = np.float32([1, 2, 3, 4]).tobytes()
    asked = await reader.read(record(body, mlsrv_model="raw", inference_header_content_length="0"))
    assert asked.request.inputs[0].shape == [2, 2]
    with pytest.raises(ModelNotFound):
        await reader.read(record(body, mlsrv_model="other", inference_header_content_length="0"))


async def test_a_structured_event(reader: RequestReader, record: Callable[..., Record]) -> None:
    event = {
        "specversion": "1.0",
        "id": "7",
        "source": "/s",
        "type": "t",
        "mlsrvmodel": "m",
        "mlsrvmethod": "stream",
        "data": {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [2**60 + 1]}]},
    }
    asked = await reader.read(record(json.dumps(event).encode(), content_type="application/cloudevents+json"))
    assert asked.request.model_name == "m"
    assert asked.context.request_id == "7"
    assert asked.request.inputs[0].data.tolist() == [2**60 + 1]
    assert asked.streams
    assert asked.event is not None


@pytest.mark.parametrize(
    ("value", "headers", "problem"),
    [
        (None, M, "no value"),
        (b"", M, "JSON"),
        (b"junk", M, "JSON"),
        (b"\xff\xfe", M, "JSON"),
        (b"{}", M, "inputs"),
        (NOTHING, {}, "mlsrv-model"),
        (NOTHING, {"mlsrv_model": ""}, "mlsrv-model"),
        (NOTHING, M | {"mlsrv_method": "guess"}, "'guess'"),
        (NOTHING, M | {"inference_header_content_length": "99"}, "Content-Length"),
        (NOTHING, M | {"content_type": "application/cloudevents+xml"}, "CloudEvents"),
        (NOTHING, M | {"content_type": "application/cloudevents+json"}, "specversion"),
        (b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1]}]}', M, "data"),
    ],
)
async def test_what_is_refused(
    reader: RequestReader,
    record: Callable[..., Record],
    value: bytes | None,
    headers: dict[str, str],
    problem: str,
) -> None:
    with pytest.raises(InvalidPayload, match=problem):
        await reader.read(record(value, **headers))


async def test_what_is_read_at_once_is_what_is_read(
    reader: RequestReader, record: Callable[..., Record]
) -> None:
    """The second time, the headers are known."""
    records = [
        record(key=b"k", mlsrv_model="m", mlserver_version="1", mlsrv_timeout="5", other="text"),
        record(key=b"\xff", mlsrv_model="m", mlsrv_method="stream"),
        record(mlsrv_model="m", x_request_id="id", traceparent=TRACE),
        record(b'{"id": "own", "inputs": []}', key=b"k", mlsrv_model="m"),
        record(partition=Partition("models.iris.in", 0), key=b"k"),
        record(key=b"k", mlsrv_model="m", ce_specversion="1.0", ce_id="7"),
    ]
    for one in [*records, *records]:
        at_once, asked = reader.read_at_once(one), await reader.read(one)
        assert at_once is not None
        assert encode_request(at_once.request) == encode_request(asked.request)
        for name in ("model_name", "model_version", "id"):
            assert getattr(at_once.request, name) == getattr(asked.request, name)
        for name in ("request_id", "deadline", "headers", "trace", "transport", "principal"):
            assert getattr(at_once.context, name) == getattr(asked.context, name)
        assert (at_once.streams, at_once.event) == (asked.streams, asked.event)


async def test_headers_that_are_known_are_not_shared(
    reader: RequestReader, record: Callable[..., Record]
) -> None:
    first, second = (reader.read_at_once(record(key=b"k", mlsrv_model="m")) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.request.parameters is not None
    assert first.request.parameters.headers is not None
    first.request.parameters.headers["mlsrv-model"] = "changed"
    assert second.context.headers == {"mlsrv-model": "m"}
    again = reader.read_at_once(record(key=b"k", mlsrv_model="m"))
    assert again is not None
    assert (again.request.model_name, again.context.headers) == ("m", {"mlsrv-model": "m"})


async def test_few_headers_are_remembered(reader: RequestReader, record: Callable[..., Record]) -> None:
    for number in range(1000):
        assert reader.read_at_once(record(key=b"k", mlsrv_model="m", n=str(number))) is not None
    assert len(reader._known) <= 256
    reader._known.clear()
    reader.read_at_once(record(key=b"k", mlsrv_model="m", n="x" * 10_000))
    reader.read_at_once(record(key=b"k", mlsrv_model="m", x_request_id="one"))
    reader.read_at_once(record(key=b"k", mlsrv_model="m", traceparent=TRACE))
    assert not reader._known


async def test_what_takes_a_while_is_not_read_at_once(
    reader: RequestReader, record: Callable[..., Record]
) -> None:
    event = record(b"{}", content_type="application/cloudevents+json")
    for one in (record(None, mlsrv_model="m"), record(b" " * 2**16, mlsrv_model="m"), event):
        assert reader.read_at_once(one) is None
    with pytest.raises(InvalidPayload, match="names no model"):
        reader.read_at_once(record())
