"""Body budget: bounds the bytes of all bodies, of requests and answers, that the server holds together."""

from __future__ import annotations

from mlsrv.errors import Overloaded
from mlsrv_rest.calls import Call

UNCOUNTED_BYTES = 2**16
"""Bytes at the beginning of each body that do not count. An HTTP server buffers as much for each connection
anyway, and small requests go on while large ones wait."""

_REASON = "http_bytes"


class BodyBudget:
    """Counts the bytes of bodies from their arrival until their requests are answered, then those of the
    answers until they are sent.

    Args:
        limit: bytes that may be held at once.

    Attributes:
        held_bytes: bytes that are held now.
    """

    __slots__ = ("_limit", "held_bytes")

    def __init__(self, limit: int) -> None:
        self.held_bytes = 0
        self._limit = limit

    def check(self, size: int) -> None:
        """Raise `Overloaded` if a further body of `size` bytes would exceed the limit."""
        if self.held_bytes + size - UNCOUNTED_BYTES > self._limit:
            raise self._overloaded()

    def hold(self, call: Call, size: int) -> None:
        """Count the body of a call, `size` bytes so far, until `release`. Raises as `check`."""
        if size > UNCOUNTED_BYTES or call.counted_bytes:
            self.release(call)
            self.check(size)
            call.counted_bytes = max(0, size - UNCOUNTED_BYTES)
            self.held_bytes += call.counted_bytes

    def check_answers(self) -> None:
        """Raise `Overloaded` if the limit is exceeded, so that no further large answer can be held."""
        if self.held_bytes > self._limit:
            raise self._overloaded()

    def add_answer(self, call: Call, size: int) -> None:
        """Count `size` bytes of an answer of a call, until `remove_answer` or `release`."""
        call.counted_bytes += size
        self.held_bytes += size

    def remove_answer(self, call: Call, size: int) -> None:
        """Stop counting what `add_answer` counted."""
        size = min(size, call.counted_bytes)
        call.counted_bytes -= size
        self.held_bytes -= size

    def release(self, call: Call) -> None:
        """Stop counting the body of a call. Idempotent."""
        self.held_bytes -= call.counted_bytes
        call.counted_bytes = 0

    def _overloaded(self) -> Overloaded:
        return Overloaded.of("The server", f"{self.held_bytes} bytes of bodies", _REASON)
