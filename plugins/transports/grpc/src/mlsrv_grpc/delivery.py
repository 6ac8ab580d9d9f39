"""Delivery: gives up answers that their clients do not take."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from mlsrv_grpc.sockets import disconnect_peer
from mlsrv_grpc.status import Rpc

logger = logging.getLogger("mlsrv.grpc")

BYTES_PER_SECOND: Final = 256 * 1024
"""A client may take as long as this rate needs, beyond the timeout."""


class Delivery:
    """Closes connections on which an answer waits too long to be written, since the client does not read.

    Args:
        timeout: seconds that an answer may take, and one more for each 256 KiB of it.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._ends: dict[asyncio.Task[object], tuple[float, Rpc]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: asyncio.Task[object], rpc: Rpc, answer: Any) -> None:
        """Note that a call has an answer to write."""
        loop = asyncio.get_running_loop()
        size = len(answer) if isinstance(answer, bytes) else 0
        self._ends[task] = loop.time() + self._timeout + size / BYTES_PER_SECOND, rpc
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._check)

    def end(self, task: asyncio.Task[object]) -> None:
        """Note that the answer is written, or the call is over."""
        self._ends.pop(task, None)

    def _check(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, (end, rpc) in list(self._ends.items()):
            if end <= now:
                del self._ends[task]
                peer = rpc.peer()
                logger.warning("The connection of %s is closed: its client does not read an answer", peer)
                # gRPC for Python cannot end a single call whose answer waits to be written.
                disconnect_peer(peer)
        if self._ends:
            delay = max(0.0, min(end for end, _ in self._ends.values()) - now)
            self._timer = loop.call_later(max(delay, self._timeout / 10), self._check)
