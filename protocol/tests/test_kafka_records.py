"""Records of a stream: in order, each once, to the end mark."""

from __future__ import annotations

from typing import Any

import pytest

from mlsrv_protocol import Code, InferenceResponse, json
from mlsrv_protocol.client import ConnectionFailed, ServerError, calls

kafka_records = pytest.importorskip("mlsrv_protocol.client.kafka_records")


class Record:
    """A record as the client library gives it."""

    def __init__(self, **headers: str) -> None:
        self._headers = [(name.replace("_", "-"), text.encode()) for name, text in headers.items()]

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def value(self) -> bytes:
        return json.encode_response(
            InferenceResponse("m", [], id=dict(self._headers).get("mlsrv-sequence", b"").decode())
        )


@pytest.fixture
def reading() -> Any:
    request = calls.make_request("m", {"x": [1]}, version=None, outputs=None, parameters=None, id=None)
    return kafka_records.StreamReading(calls.infer(request, as_json=True, repeatable=False))


def taken(reading: Any, *records: Any) -> list[str | None]:
    return [result.response.id for record in records for result in reading.take(record)]


def test_what_comes_twice_is_read_once(reading: Any) -> None:
    records = [Record(mlsrv_sequence=number) for number in ("0", "1", "0", "1", "2")]
    assert taken(reading, *records) == ["0", "1", "2"]
    assert not reading.ended
    assert taken(reading, Record(mlsrv_sequence="3", mlsrv_end="true")) == []
    assert reading.ended


def test_a_missing_response(reading: Any) -> None:
    assert taken(reading, Record(mlsrv_sequence="0")) == ["0"]
    with pytest.raises(ServerError, match="Response 1 of the stream did not come"):
        taken(reading, Record(mlsrv_sequence="2"))


def test_failures(reading: Any) -> None:
    end = Record(
        mlsrv_sequence="0", mlsrv_end="true", mlsrv_error_code="NOT_FOUND", mlsrv_error_message="gone"
    )
    with pytest.raises(ServerError, match="gone") as caught:
        taken(reading, end)
    assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(ConnectionFailed, match="away"):
        taken(reading, ConnectionFailed("away"))


def test_an_answer_that_is_no_stream_is_the_only_one(reading: Any) -> None:
    assert len(taken(reading, Record())) == 1
    assert reading.ended


def test_a_failure_in_another_topic_does_not_overtake_responses(reading: Any) -> None:
    assert taken(reading, Record(mlsrv_sequence="2", mlsrv_error_code="INTERNAL")) == []
    assert taken(reading, Record(mlsrv_sequence="0"), Record(mlsrv_sequence="1")) == ["0", "1"]
    end = Record(
        mlsrv_sequence="2", mlsrv_end="true", mlsrv_error_code="INTERNAL", mlsrv_error_message="broke"
    )
    with pytest.raises(ServerError, match="broke"):
        taken(reading, end)
    assert reading.ended
