"""Admission: limits the requests that wait or run at once, of one model and of all of them together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mlsrv.errors import Overloaded, TooLarge
from mlsrv.handlers import Arguments, HandlerRequest
from mlsrv_protocol.types import RequestInput, ResponseOutput

POINTER = 8
"""Bytes that an element of a list counts beside its text."""


class Admission:
    """Counts the requests that are in, and their bytes, and lets no more in than its limits allow.

    Args:
        what: whose limits these are, for messages.
        kind: how reasons of refusals begin: ``"model"`` or ``"server"``.
        most: requests that may be in at once.
        most_bytes: bytes that they may have together.
        whole: the admission of which this is a part; whatever is let in here counts there, too.

    Attributes:
        requests, bytes: what is in now.
    """

    __slots__ = ("_kind", "_most", "_most_bytes", "_what", "_whole", "bytes", "requests")

    def __init__(
        self, what: str, kind: str, most: int, most_bytes: int, whole: Admission | None = None
    ) -> None:
        self.requests = 0
        self.bytes = 0
        self._what = what
        self._kind = kind
        self._most = most
        self._most_bytes = most_bytes
        self._whole = whole

    def enter(self, size: int) -> None:
        """Let a request of `size` bytes in, until `leave`.

        Raises:
            Overloaded: there are too many requests or bytes; its `reason` says which, and of whom.
            TooLarge: it would not even be let in alone.
        """
        if self.requests >= self._most or self.bytes + size > self._most_bytes:
            raise self._refusal(size)
        if self._whole is not None:
            self._whole.enter(size)
        self.requests += 1
        self.bytes += size

    def leave(self, size: int) -> None:
        """A request that was let in has its answer, or was given up."""
        self.requests -= 1
        self.bytes -= size
        if self._whole is not None:
            self._whole.leave(size)

    def _refusal(self, size: int) -> Overloaded | TooLarge:
        if size > self._most_bytes:
            return TooLarge(
                f"{self._what} takes requests of {self._most_bytes} bytes of data at most; "
                f"this one has {size}."
            )
        if self.requests >= self._most:
            return Overloaded.of(self._what, f"{self._most} requests", f"{self._kind}_requests")
        return Overloaded.of(self._what, f"{self.bytes} bytes of requests", f"{self._kind}_bytes")


def size_of(tensors: Iterable[RequestInput | ResponseOutput]) -> int:
    """Bytes of the data of tensors: of numbers what they take in memory, of texts their lengths and a pointer
    each. Names, shapes and parameters count nothing."""
    size = 0
    for tensor in tensors:
        data = tensor.data
        size += data.nbytes if isinstance(data, np.ndarray) else _size_of_list(data)
    return size


def size_of_arguments(arguments: Arguments) -> int:
    """Bytes of the body of a request to a custom handler; arguments from Python count nothing."""
    return len(arguments.body) if isinstance(arguments, HandlerRequest) else 0


def _size_of_list(data: Any) -> int:
    if isinstance(data, memoryview):  # whose rows have no lengths, if it has several dimensions
        return data.nbytes
    try:
        return POINTER * len(data) + sum(map(len, data))
    except TypeError:  # numbers, which Python code may give as a list or alone
        return POINTER * len(data) if isinstance(data, list | tuple) else POINTER
