"""An answer that is complete before its first byte is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

# Exactly this: some clients compare the value as a whole.
JSON = (b"content-type", b"application/json")


class Reply(NamedTuple):
    """Status, headers (names in lower case, content-length among them) and body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def send(self, send: Send) -> None:
        """Write it: two messages, whatever the size."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def json_reply(body: bytes, status: int = 200) -> Reply:
    """An answer of JSON text."""
    return Reply(status, [JSON, (b"content-length", b"%d" % len(body))], body)
