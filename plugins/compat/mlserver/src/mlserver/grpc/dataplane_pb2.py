"""Messages of the protocol over gRPC, in a descriptor pool of their own."""

from __future__ import annotations

from typing import Any

from mlsrv_protocol.grpc import message_class


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return message_class(f"inference.{name}")
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
