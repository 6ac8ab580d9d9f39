"""CloudEvents in both modes."""

from __future__ import annotations

import base64
import json

import pytest

from mlsrv.errors import InvalidPayload
from mlsrv_kafka import cloudevents
from mlsrv_kafka.cloudevents import Event

EVENT = {"specversion": "1.0", "id": "7", "source": "/me", "type": "ask", "mlsrvmodel": "m", "n": 5}


def test_binary_mode() -> None:
    headers = {"ce_specversion": "1.0", "ce_id": "7", "content-type": "application/json", "x": "y"}
    event = cloudevents.binary_event(headers)
    assert event == Event({"specversion": "1.0", "id": "7"}, False)
    assert cloudevents.binary_event({"ce_id": "7"}) is None


@pytest.mark.parametrize(
    ("content_type", "structured"),
    [
        ("application/cloudevents+json", True),
        ("Application/CloudEvents+JSON; charset=utf-8", True),
        ("application/json", False),
        ("", False),
    ],
)
def test_the_content_type_tells_the_mode(content_type: str, structured: bool) -> None:
    assert cloudevents.is_structured({"content-type": content_type}) is structured


@pytest.mark.parametrize(
    "content_type",
    ["application/cloudevents-batch+json", "application/cloudevents+avro", "application/cloudevents"],
)
def test_other_formats_are_refused(content_type: str) -> None:
    with pytest.raises(InvalidPayload, match="one event as JSON is taken"):
        cloudevents.is_structured({"content-type": content_type})


def test_structured_mode_with_json() -> None:
    event, data = cloudevents.structured_event(json.dumps(EVENT | {"data": {"inputs": []}}).encode())
    assert event.attributes["mlsrvmodel"] == "m"
    assert "n" not in event.attributes
    assert json.loads(data) == {"inputs": []}


def test_structured_mode_with_bytes_and_text() -> None:
    whole = EVENT | {"data_base64": base64.b64encode(b"\x00\xff").decode()}
    assert cloudevents.structured_event(json.dumps(whole).encode())[1] == b"\x00\xff"
    assert cloudevents.structured_event(json.dumps(EVENT | {"data": "{}"}).encode())[1] == b"{}"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "object"),
        (b'{"id": "1", "data": {}}', "no specversion"),
        (json.dumps(EVENT).encode(), "has no data"),
        (json.dumps(EVENT | {"data_base64": "%"}).encode(), "not base64"),
        (json.dumps(EVENT | {"data_base64": 5}).encode(), "not base64"),
    ],
)
def test_what_is_no_event(value: bytes, problem: str) -> None:
    with pytest.raises(InvalidPayload, match=problem):
        cloudevents.structured_event(value)


def test_the_event_that_answers() -> None:
    found = cloudevents.response_attributes(Event({"partitionkey": "p", "id": "7"}, True), "/mlsrv", "t/0/1")
    assert found == {
        "specversion": "1.0",
        "id": "t/0/1",
        "source": "/mlsrv",
        "type": "io.mlsrv.inference.response",
        "partitionkey": "p",
    }
    assert ("ce_id", b"t/0/1") in cloudevents.binary_headers(found)
    whole = json.loads(cloudevents.structured_value(found, b'{"a":1}', "application/json"))
    assert whole == {**found, "datacontenttype": "application/json", "data": {"a": 1}}
    whole = json.loads(cloudevents.structured_value(found, b"\xff", "application/octet-stream"))
    assert base64.b64decode(whole["data_base64"]) == b"\xff"
