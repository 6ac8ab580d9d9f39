"""How failures look over gRPC: one table from `Code` to a status."""

from __future__ import annotations

import math
from typing import NamedTuple, NoReturn, TypeAlias

import grpc

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded
from mlsrv.telemetry.request_logging import report
from mlsrv_grpc.metadata import LONGEST_ID, REQUEST_ID

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


def failure(error: Exception, context: CallContext | None = None) -> Failure:
    """What to tell about an error. The log has it, too, under the request id that the client gets as trailing
    metadata.

    Args:
        error: what was raised.
        context: of the request, as far as it was understood.
    """
    context = context or CallContext()
    report(error, context)
    trailing = _id_metadata(context.request_id)
    if not isinstance(error, MLSrvError):
        details = f"Internal server error (request {context.request_id})"
        return Failure(grpc.StatusCode.INTERNAL, _clipped(details), trailing)
    if error.code is Code.OVERLOADED:
        seconds = error.retry_after if isinstance(error, Overloaded) else 1.0
        trailing = (("grpc-retry-pushback-ms", str(math.ceil(seconds * 1000))), *trailing)
    return Failure(STATUS[error.code], _clipped(str(error)), trailing)


async def refuse(rpc: Rpc, error: Exception, context: CallContext | None = None) -> NoReturn:
    """End a call with the status of an error."""
    await abort(rpc, failure(error, context))


async def abort(rpc: Rpc, told: Failure) -> NoReturn:
    """End a call with what its client is to be told."""
    await rpc.abort(*told)
    raise AssertionError("abort has raised")


def _id_metadata(request_id: str) -> tuple[tuple[str, str], ...]:
    # A client may choose any text as the id of its request, and then knows it.
    if len(request_id) > LONGEST_ID or not (request_id.isascii() and request_id.isprintable()):
        return ()
    return ((REQUEST_ID, request_id),)


def _clipped(details: str) -> str:
    octets = details.encode("utf-8", "replace")
    if len(octets) <= _LONGEST_DETAILS:
        return octets.decode()
    return octets[:_LONGEST_DETAILS].decode("utf-8", "ignore") + "…"
