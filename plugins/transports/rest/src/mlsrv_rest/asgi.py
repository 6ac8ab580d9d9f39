"""ASGI types: the scope, the messages and the two callables of an application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Body: TypeAlias = bytes | bytearray

FLUSHED = "mlsrv_rest.flushed"
"""Key of the scope's ``state``: a function that waits until the client has read most of what was sent. A
server whose ``send`` waits for that has none."""


DISCONNECTED = "mlsrv_rest.disconnected"
"""Key of the scope's ``state``: a future that is done once the connection has ended. Without it, ``receive``
alone tells that the client has disconnected."""


async def flushed(scope: Scope) -> None:
    """Wait until the client has read most of what was sent to it."""
    wait = (scope.get("state") or {}).get(FLUSHED)
    if wait is not None:
        await wait()
