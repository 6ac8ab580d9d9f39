"""Received messages: reads the requests of a stream such that none is kept once it has been handed over."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final

import grpc.aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs leave it out

from mlsrv_grpc.status import Rpc

_OWN: Final = getattr(cygrpc, "_MessageReceiver", ())
"""The class of gRPC's own iterators, which keep each message until the next one comes."""


def received(requests: AsyncIterable[bytes], rpc: Rpc) -> AsyncIterable[bytes]:
    """Return the requests of a stream, as yet unread.

    Args:
        requests: gRPC's own iterator, or what an interceptor has put in its place, returned as it is.
        rpc: the call.
    """
    return _read(rpc) if isinstance(requests, _OWN) else requests


async def _read(rpc: Rpc) -> AsyncIterator[bytes]:
    while True:
        message: Any = await rpc.read()
        if message is grpc.aio.EOF:
            return
        yield message
        del message
