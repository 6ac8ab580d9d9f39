"""Buffered response: a response that is complete before its first byte is sent."""

from __future__ import annotations

from typing import NamedTuple

from mlsrv_rest.asgi import Send

# Exactly this: some clients compare the value as a whole.
JSON = (b"content-type", b"application/json")


class BufferedResponse(NamedTuple):
    """Status, headers (names in lower case, content-length among them) and body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def send(self, send: Send) -> None:
        """Send the response in two messages, whatever its size."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})
