"""The bodies that the server holds: how many bytes they have together."""

from __future__ import annotations

from mlsrv.errors import Overloaded
from mlsrv_rest.calls import Call

UNCOUNTED = 2**16
"""Bytes at the beginning of each body that do not count. An HTTP server buffers as much for each connection
anyway, and small requests go on while large ones wait."""

_REASON = "http_bytes"


class Bodies:
    """Counts the bytes of bodies, from their arrival until their requests are answered.

    Args:
        most: bytes that there may be at once.

    Attributes:
        bytes: what there is now.
    """

    __slots__ = ("_most", "bytes")

    def __init__(self, most: int) -> None:
        self.bytes = 0
        self._most = most

    def expect(self, size: int) -> None:
        """Raise `Overloaded` if a body of so many bytes more would be too much now."""
        if self.bytes + size - UNCOUNTED > self._most:
            raise Overloaded.of("The server", f"{self.bytes} bytes of request bodies", _REASON)

    def keep(self, call: Call, size: int) -> None:
        """The body of a call has so many bytes by now, and counts until `drop`. Raises as `expect`."""
        if size > UNCOUNTED or call.kept:
            self.drop(call)
            self.expect(size)
            call.kept = max(0, size - UNCOUNTED)
            self.bytes += call.kept

    def drop(self, call: Call) -> None:
        """The body of a call is no longer there."""
        self.bytes -= call.kept
        call.kept = 0
