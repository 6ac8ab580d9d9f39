"""Message budget: bounds the bytes of all request messages that the server holds together."""

from __future__ import annotations

from typing import Any, Final

from mlsrv.errors import Overloaded
from mlsrv.kernel_api import KernelAPI
from mlsrv.telemetry.kernel_metrics import REJECTED

UNCOUNTED_BYTES: Final = 2**16
"""Bytes of each message that do not count, so that small requests go on while large ones wait."""

_REASON: Final = "grpc_bytes"


class MessageBudget:
    """Counts the bytes of requests from when gRPC hands over their messages until they are answered.

    Args:
        limit: bytes that may be held at once; not less than one message may have.
        kernel: records refusals.

    Attributes:
        held_bytes: bytes that are held now.
    """

    __slots__ = ("_kernel", "_limit", "held_bytes")

    def __init__(self, limit: int, kernel: KernelAPI) -> None:
        self.held_bytes = 0
        self._limit = limit
        self._kernel = kernel

    def hold(self, message: object) -> int:
        """Count a message. Returns the bytes to `release` when its request has been answered.

        Raises:
            Overloaded: those that are held leave no room for it.
        """
        counted = _size_of(message) - UNCOUNTED_BYTES
        if counted <= 0:
            return 0
        if self.held_bytes + counted > self._limit:
            self._kernel.metrics.record(REJECTED, 1.0, ("", "", _REASON))
            raise Overloaded.of("The server", f"{self.held_bytes} bytes of messages", _REASON)
        self.held_bytes += counted
        return counted

    def release(self, counted: int) -> None:
        """Stop counting what `hold` counted."""
        self.held_bytes -= counted


def _size_of(message: Any) -> int:
    """Return the bytes of a message. Services of plugins may have theirs as objects of generated code; other
    objects, such as streams of messages, count nothing."""
    if isinstance(message, bytes):
        return len(message)
    size = getattr(message, "ByteSize", None)
    return int(size()) if callable(size) else 0
