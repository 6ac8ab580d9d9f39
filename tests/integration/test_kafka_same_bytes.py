"""The same bytes have the same answer over Kafka as over REST: values, tensors, refusals and failures."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from confluent_kafka import Message, Producer

from mlsrv import ModelSettings
from mlsrv.types import Datatype, InferenceRequest, Parameters, RequestInput
from mlsrv_protocol import binary, json
from mock_broker import Mock
from served import HEADER, SECONDS, Served, served

SOURCE = Path(__file__).parent / "mirror" / "model-settings.json"
NUMBERS = {
    datatype: RequestInput("x", [2, 2], datatype, np.array([[0, 1], [1, 0]]).astype(datatype.dtype).ravel())
    for datatype in sorted(Datatype, key=str)
    if datatype not in (Datatype.BYTES, Datatype.BF16)
}
TENSORS = {
    **{str(datatype): tensor for datatype, tensor in NUMBERS.items()},
    "BF16": RequestInput("x", [2], "BF16", np.array([0x3F80, 0x4000], np.uint16)),
    "texts": RequestInput("x", [3], "BYTES", ["a", "", "Straße"]),
    "not finite": RequestInput("x", [3], "FP64", np.array([np.nan, np.inf, -np.inf])),
    "large": RequestInput("x", [2**14], "INT64", np.arange(2**14) + 2**53),
    "empty": RequestInput("x", [0, 4], "FP32", np.zeros(0, np.float32)),
}
TROUBLE = (None, "refuse", "fail")


class Asking:
    """Asks one server over HTTP and over topics; records are matched by their keys."""

    def __init__(self, server: Served, broker: Mock) -> None:
        self._server = server
        self._broker = broker

    async def over_http(self, body: bytes, headers: dict[str, str]) -> bytes:
        """The body of the response, whatever it is."""
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            url = f"{self._server.rest}/v2/models/m/infer"
            return (await client.post(url, content=body, headers=headers)).content

    async def over_kafka(self, requests: list[tuple[bytes, dict[str, str]]]) -> list[bytes]:
        """The values of the answers; of error records, the bodies that HTTP would have."""

        def ask() -> list[bytes]:
            producer = Producer({"bootstrap.servers": self._broker.servers, "log_level": 0})
            for number, (body, headers) in enumerate(requests):
                given: Any = [
                    ("mlsrv-model", b"m"),
                    *((name, text.encode()) for name, text in headers.items()),
                ]
                producer.produce("in", body, b"%d" % number, headers=given)
            assert producer.flush(SECONDS) == 0
            # Each topic has one record more, with which it was made.
            found = self._broker.receive("out", answered + 1)
            found += self._broker.receive("errors", len(requests) - answered + 1)
            bodies = {message.key(): body_of(message) for message in found}
            return [bodies[b"%d" % number] for number in range(len(requests))]

        answered = sum(b'"trouble"' not in body for body, _ in requests)
        return await asyncio.to_thread(ask)


def body_of(message: Message) -> bytes:
    for name, value in message.headers() or []:
        if name == "mlsrv-error-message" and isinstance(value, bytes):
            return json.encode_error(value.decode())
    return message.value() or b""


@pytest.fixture(params=[0, 1], ids=["inline", "worker"])
async def asking(request: pytest.FixtureRequest) -> AsyncIterator[Asking]:
    broker = Mock()
    await asyncio.to_thread(broker.create, "out", "errors")
    settings = broker.settings(kafka_retries=0, parallel_workers=request.param)
    async with served([ModelSettings("m", "models.Mirror", source=SOURCE)], **settings) as server:
        yield Asking(server, broker)


@pytest.mark.timeout(180)
async def test_the_same_bytes_have_the_same_answer(asking: Any) -> None:
    requests: list[tuple[bytes, dict[str, str]]] = []
    for tensor, trouble in itertools.product(TENSORS.values(), TROUBLE):
        parameters = Parameters(trouble=trouble) if trouble else None
        made = InferenceRequest([tensor], id="id", parameters=parameters)
        requests.append((json.encode_request(made), {}))
        length, pieces = binary.encode_request(made)
        requests.append((b"".join(pieces), {HEADER: str(length)}))
    over_http = [await asking.over_http(*each) for each in requests]
    over_kafka = await asking.over_kafka(requests)
    different = [pair for pair in zip(over_http, over_kafka, strict=True) if pair[0] != pair[1]]
    assert different == []
    assert sum(b'"error"' in body for body in over_kafka) == 2 * 2 * len(TENSORS)
