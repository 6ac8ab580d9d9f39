"""Cycle: one request on a connection of Uvicorn, whose usual answer is written at once."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from mlsrv_rest.asgi import Message
from mlsrv_rest.buffered_response import JSON

_LENGTH = b"content-length"
_HEAD = b"HTTP/1.1 200 OK\r\n%s: %s\r\ncontent-type: application/json\r\ncontent-length: %s\r\n\r\n"


class Cycle(RequestResponseCycle):
    """Writes head and body together of an answer that is JSON of known length without further headers. Every
    other answer takes Uvicorn's way, which checks each header."""

    _head = b""

    async def send(self, message: Any) -> None:
        head, self._head = self._head, b""
        if head:
            body = message.get("body", b"")
            is_whole = len(body) == self.expected_content_length and not message.get("more_body")
            if is_whole and not self.flow.write_paused and not self.disconnected:
                self._finish(head, body)
                return
            self.transport.write(head)
        elif not self.response_started and self.keep_alive and self.scope["method"] != "HEAD":
            length = _length_of_json(message)
            if length is not None:
                [(name, value)] = self.default_headers
                self._head = _HEAD % (name, value, length)
                self.response_started = True
                self.waiting_for_100_continue = False
                self.chunked_encoding = False
                self.expected_content_length = int(length)
                return
        await super().send(message)

    def _finish(self, head: bytes, body: bytes) -> None:
        self.transport.write_whole(head, body)  # type: ignore[attr-defined]  # of `CoalescingWriter`
        self.expected_content_length = 0
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _length_of_json(message: Message) -> bytes | None:
    """Return the length of an answer that is JSON without further headers, or None for any other message."""
    headers = message.get("headers")
    if message.get("status") != 200 or type(headers) is not list or len(headers) != 2:
        return None
    name, value = headers[1]
    return value if headers[0] is JSON and name == _LENGTH and value.isdigit() else None
