"""How failures look over gRPC: one table from `Code` to a status."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple, NoReturn, TypeAlias

import grpc

from mlsrv.errors import Code, MLSrvError, Overloaded

logger = logging.getLogger("mlsrv.grpc")

Rpc: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
"""One call, as the server sees it: messages are bytes."""

STATUS: dict[Code, grpc.StatusCode] = {
    Code.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Code.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    # Clients try again on this one by themselves: it is for states that pass.
    Code.NOT_READY: grpc.StatusCode.UNAVAILABLE,
    Code.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Code.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Code.CANCELLED: grpc.StatusCode.CANCELLED,
    Code.UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    Code.INTERNAL: grpc.StatusCode.INTERNAL,
}

# Details travel in a header, and clients drop a call whose headers have more than about 8 KB in all.
# Characters that are not ASCII take three times their bytes there.
_LONGEST_DETAILS = 2000


class Failure(NamedTuple):
    """What a client is told: status, one sentence, further trailing metadata."""

    code: grpc.StatusCode
    details: str
    trailing: tuple[tuple[str, str], ...] = ()


def failure(error: Exception, request_id: str = "") -> Failure:
    """What to tell about an error. What nobody raised on purpose is logged with its traceback, and the client
    gets the request id under which it is found."""
    if isinstance(error, MLSrvError):
        trailing: tuple[tuple[str, str], ...] = ()
        if error.code is Code.OVERLOADED:
            seconds = error.retry_after if isinstance(error, Overloaded) else 1.0
            trailing = (("grpc-retry-pushback-ms", str(math.ceil(seconds * 1000))),)
        return Failure(STATUS[error.code], _clipped(str(error)), trailing)
    logger.error(
        "Request %s failed: %s: %s",
        request_id,
        type(error).__name__,
        error,
        exc_info=error,
        extra={"request_id": request_id},
    )
    return Failure(grpc.StatusCode.INTERNAL, f"Internal server error (request {request_id})")


async def refuse(rpc: Rpc, error: Exception, request_id: str = "") -> NoReturn:
    """End a call with the status of an error."""
    await rpc.abort(*failure(error, request_id))
    raise AssertionError("abort has raised")


def _clipped(details: str) -> str:
    octets = details.encode("utf-8", "replace")
    if len(octets) <= _LONGEST_DETAILS:
        return octets.decode()
    return octets[:_LONGEST_DETAILS].decode("utf-8", "ignore") + "…"
