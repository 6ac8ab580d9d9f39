"""Body decoder: decodes and encodes large bodies in a thread, so that the event loop goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from mlsrv.threads import Threads
from mlsrv_protocol.bodies import SLOW_BYTES
from mlsrv_rest.asgi import Body

_T = TypeVar("_T")

THREAD_BYTES: Final = SLOW_BYTES
"""Bytes of JSON from which a body is decoded in a thread."""


class BodyDecoder:
    """Decodes large bodies one after another: parsing holds the interpreter's lock for much of its time, and
    every further thread that parses would take its share from the event loop."""

    def __init__(self) -> None:
        self._threads = Threads(1, "mlsrv-rest-decode")

    async def run(self, decode: Callable[..., _T], body: Body, /, *args: object) -> _T:
        """Return ``decode(body, *args)``, which runs in a thread if the body is large. Raises as `decode`."""
        if len(body) < THREAD_BYTES:
            return decode(body, *args)
        return await self.run_in_thread(decode, body, *args)

    async def run_in_thread(self, convert: Callable[..., _T], /, *args: object) -> _T:
        """Return ``convert(*args)``, which runs in a thread. Raises as `convert`."""
        return await self._threads.run(convert, *args)

    def close(self) -> None:
        """End the thread."""
        self._threads.close()
