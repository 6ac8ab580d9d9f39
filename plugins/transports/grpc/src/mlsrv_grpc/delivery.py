"""Delivery: bounds what waits for clients to read it, and gives up answers that they do not take."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Any, Final

from mlsrv.errors import Overloaded
from mlsrv_grpc.sockets import disconnect_peer
from mlsrv_grpc.status import Rpc

logger = logging.getLogger("mlsrv.grpc")

BYTES_PER_SECOND: Final = 256 * 1024
"""A client may take as long as this rate needs, beyond the timeout."""


class Delivery:
    """Closes connections on which an answer waits too long to be written, since the client does not read.

    Args:
        timeout: seconds that an answer may take, and one more for each 256 KiB of it.
        limit: bytes that all answers together may have; one alone may have more.

    Attributes:
        held_bytes: bytes of answers that are held now.
    """

    def __init__(self, timeout: float, limit: int) -> None:
        self._timeout = timeout
        self._limit = limit
        self.held_bytes = 0
        self._waiting: dict[asyncio.Task[object], tuple[float, Rpc, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: asyncio.Task[object], rpc: Rpc, answer: Any) -> None:
        """Note that a call has an answer to write. Raises as `hold`."""
        size = len(answer) if isinstance(answer, bytes) else 0
        self.hold(size)
        self.watch(task, rpc, size)

    def hold(self, size: int) -> None:
        """Count the bytes of an answer.

        Raises:
            Overloaded: those that wait leave no room for it.
        """
        if self.held_bytes and self.held_bytes + size > self._limit:
            raise Overloaded.of("The server", f"{self.held_bytes} bytes of answers", "grpc_answers")
        self.held_bytes += size

    def release(self, size: int) -> None:
        """Stop counting bytes that `hold` counted."""
        self.held_bytes -= size

    def watch(self, task: asyncio.Task[object], rpc: Rpc, size: int) -> None:
        """Note that an answer, whose bytes are counted, is being written."""
        self._waiting[task] = monotonic() + self._timeout + size / BYTES_PER_SECOND, rpc, size
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self._check)

    def end(self, task: asyncio.Task[object]) -> None:
        """Note that the answer is written, or the call is over."""
        found = self._waiting.pop(task, None)
        if found is not None:
            self.held_bytes -= found[2]

    def _check(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = monotonic()
        late = [(task, rpc) for task, (end, rpc, _) in self._waiting.items() if end <= now]
        for task, rpc in late:
            self.end(task)
            peer = rpc.peer()
            logger.warning("The connection of %s is closed: its client does not read an answer", peer)
            # gRPC for Python cannot end a single call whose answer waits to be written.
            disconnect_peer(peer)
        if self._waiting:
            delay = max(0.0, min(end for end, _, _ in self._waiting.values()) - now)
            self._timer = loop.call_later(max(delay, self._timeout / 10), self._check)
