"""Kafka records: what a client reads from those that answer its requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeAlias, TypeVar, cast

from confluent_kafka import Message

from mlsrv_protocol.client.calls import Call, HttpResponse
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError
from mlsrv_protocol.errors import Code

T = TypeVar("T")

Arrival: TypeAlias = Message | ConnectionFailed
"""A record for a request, or why there will be none."""


class StreamReading(Generic[T]):
    """The records of one stream, of which some may come twice: a server that begins anew repeats them.

    Args:
        call: that is answered.

    Attributes:
        ended: whether the end mark has come.
    """

    def __init__(self, call: Call[T]) -> None:
        self._call = call
        self._next = 0
        self.ended = False

    def take(self, arrived: Arrival) -> Iterator[T]:
        """Yield the result in a record, if it is the next one.

        Raises:
            ServerError: the server could not answer, or a response is missing.
            ConnectionFailed: the request could not be written.
        """
        if isinstance(arrived, ConnectionFailed):
            raise arrived
        headers = headers_of(arrived)
        number = headers.get("mlsrv-sequence", "")
        if not number.isdecimal():  # one that could not be answered, or of a server that does not stream
            self.ended = True
            yield read_result(self._call, arrived)
            return
        is_end = headers.get("mlsrv-end") == "true"
        if "mlsrv-error-code" in headers and not is_end:
            return  # of the error topic, which may overtake: the end mark says the same
        if int(number) < self._next:
            return
        if int(number) > self._next:
            raise ServerError(f"Response {self._next} of the stream did not come.", Code.INTERNAL)
        self._next += 1
        self.ended = is_end
        if not self.ended or "mlsrv-error-code" in headers:
            yield read_result(self._call, arrived)


def headers_of(message: Message) -> dict[str, str]:
    """Return the headers of a record as texts, names in lower case."""
    return {
        name.lower(): value.decode("utf-8", "replace") if value else ""
        for name, value in cast("list[tuple[str, bytes | None]]", message.headers() or [])
    }


def read_result(call: Call[T], message: Message) -> T:
    """Return the result of a call from a record. Raises `ServerError` for one that says why there is none."""
    headers = headers_of(message)
    code = headers.get("mlsrv-error-code")
    if code is not None:
        known = Code[code] if code in Code.__members__ else Code.INTERNAL
        raise ServerError(headers.get("mlsrv-error-message", code), known, status=code)
    return call.read_http(HttpResponse(200, headers, message.value() or b""))
