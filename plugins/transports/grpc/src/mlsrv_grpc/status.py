"""Status: the gRPC status of each `Code`, and how calls end with it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, NoReturn, TypeAlias

import grpc

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded
from mlsrv.telemetry.request_logging import internal_error, report
from mlsrv_grpc.metadata import MAX_ID_LENGTH, REQUEST_ID

Rpc: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
"""A call on the side of the server; its messages are bytes."""

STATUS: dict[Code, grpc.StatusCode] = {
    Code.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Code.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    # Clients retry this one by themselves: it is for temporary states.
    Code.NOT_READY: grpc.StatusCode.UNAVAILABLE,
    Code.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Code.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Code.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Code.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Code.CANCELLED: grpc.StatusCode.CANCELLED,
    Code.UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    Code.INTERNAL: grpc.StatusCode.INTERNAL,
}

# Details are sent in a header, and clients fail a call whose headers exceed about 8 KB in all. Each
# byte that is not ASCII takes three bytes there.
_MAX_DETAILS_BYTES = 2000


# Clients round a deadline up by as much as 1 % before they send it, and the call takes time to arrive: a
# client whose deadline passes cancels the call while the server still has some time left.
_LATE_SECONDS = 0.25

_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class Failure(NamedTuple):
    """Status, details and further trailing metadata of a call that failed."""

    code: grpc.StatusCode
    details: str
    trailing: tuple[tuple[str, str], ...] = ()


def failure(error: Exception, context: CallContext | None = None) -> Failure:
    """Log an error and return the failure that its client gets.

    Log record and trailing metadata have the same request id.

    Args:
        error: the exception.
        context: of the request, if it was decoded before the error.
    """
    context = context or CallContext()
    report(error, context)
    trailing = _request_id_metadata(context.request_id)
    if not isinstance(error, MLSrvError):
        return Failure(grpc.StatusCode.INTERNAL, _clipped(internal_error(context)), trailing)
    if error.code in (Code.OVERLOADED, Code.RATE_LIMITED):
        seconds = error.retry_after if isinstance(error, Overloaded) else 1.0
        trailing = (("grpc-retry-pushback-ms", str(math.ceil(seconds * 1000))), *trailing)
    return Failure(STATUS[error.code], _clipped(str(error)), trailing)


async def refuse(rpc: Rpc, error: Exception, context: CallContext | None = None) -> NoReturn:
    """End a call with the status of an error."""
    await abort(rpc, failure(error, context))


async def abort(rpc: Rpc, reported: Failure) -> NoReturn:
    """End a call with a failure."""
    await rpc.abort(*reported)
    raise AssertionError("abort has raised")


def code_name(rpc: Rpc) -> str:
    """Return the name of the status code of a call that ended by itself; OK if none has been set.

    A handler that ends after the deadline is too late, whatever it answers: gRPC ends the requests of a
    stream then as if the client had sent the last one.
    """
    # grpc.aio has the code itself or its number.
    code: Any = rpc.code()
    name = code.name if isinstance(code, grpc.StatusCode) else _CODE_NAMES.get(code or 0, "UNKNOWN")
    return "DEADLINE_EXCEEDED" if name == "OK" and _is_late(rpc) else name


def cancellation_name(rpc: Rpc) -> str:
    """Return the name of the status code of a call whose handler was cancelled.

    gRPC cancels the handler when the client cancels and when the deadline passes, on either side.
    """
    return "DEADLINE_EXCEEDED" if _is_late(rpc, _LATE_SECONDS) else "CANCELLED"


def _is_late(rpc: Rpc, within: float = 0.0) -> bool:
    remaining: Any = rpc.time_remaining()  # the stubs do not say that it is None without a deadline
    return remaining is not None and remaining <= within


def _request_id_metadata(request_id: str) -> tuple[tuple[str, str], ...]:
    # A client may choose an id that metadata cannot carry; the client that chose it knows it.
    if len(request_id) > MAX_ID_LENGTH or not (request_id.isascii() and request_id.isprintable()):
        return ()
    return ((REQUEST_ID, request_id),)


def _clipped(details: str) -> str:
    octets = details.encode("utf-8", "replace")
    if len(octets) <= _MAX_DETAILS_BYTES:
        return octets.decode()
    return octets[:_MAX_DETAILS_BYTES].decode("utf-8", "ignore") + "…"
