"""Errors: the HTTP status of each `Code`, and responses in the protocol's error form."""

from __future__ import annotations

import math
from http import HTTPStatus

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, ModelAnswered, Overloaded
from mlsrv.telemetry.request_logging import reported
from mlsrv_protocol.json import encode_error
from mlsrv_rest.buffered_response import JSON, BufferedResponse
from mlsrv_rest.headers import MAX_ID_LENGTH, REQUEST_ID

STATUS: dict[Code, int] = {
    Code.INVALID_ARGUMENT: 400,
    Code.NOT_FOUND: 404,
    Code.NOT_READY: 503,
    Code.ALREADY_EXISTS: 409,
    Code.TOO_LARGE: 413,
    Code.OVERLOADED: 503,
    Code.RATE_LIMITED: 429,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.DEADLINE_EXCEEDED: 504,
    # A request whose client is still connected is cancelled only by a server that stops.
    Code.CANCELLED: 503,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
}


class HTTPProblem(Exception):
    """An error that exists only in HTTP, such as an unknown path.

    Args:
        status: of the response.
        message: one sentence for the client.
        headers: further headers of the response, names in lower case.
    """

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class ClientDisconnected(Exception):
    """The client closed the connection or cancelled the request: no response can be sent."""


class ResponseInterrupted(Exception):
    """An endpoint failed after its response began: no error response can follow. The cause is its
    exception."""


def error_response(
    status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> BufferedResponse:
    """Return a response in the protocol's error form: ``{"error": message}``."""
    body = encode_error(message)
    return BufferedResponse(status, [JSON, (b"content-length", b"%d" % len(body)), *headers], body)


def error_to_response(error: Exception, context: CallContext | None = None) -> BufferedResponse:
    """Log an error and return the response that its client gets.

    Log record and header ``X-Request-Id`` have the same id.

    Args:
        error: the exception.
        context: of the request, if its head was parsed before the error.
    """
    if isinstance(error, HTTPProblem):
        return error_response(error.status, str(error), error.headers)
    context = context or CallContext()
    message = client_message(error, context)
    headers = _request_id_header(context.request_id)
    if not isinstance(error, MLSrvError):
        return error_response(500, message, headers)
    if error.code is Code.UNAUTHENTICATED:
        headers = ((b"www-authenticate", b"Bearer"), *headers)
    if error.code in (Code.OVERLOADED, Code.RATE_LIMITED):
        seconds = error.retry_after if isinstance(error, Overloaded) else 1.0
        headers = ((b"retry-after", b"%d" % max(1, math.ceil(seconds))), *headers)
    status = error.status if isinstance(error, ModelAnswered) else STATUS[error.code]
    return error_response(status, message, headers)


def client_message(error: Exception, context: CallContext) -> str:
    """Log an error and return the sentence that the client gets."""
    return str(reported(error, context))


def _request_id_header(request_id: str) -> tuple[tuple[bytes, bytes], ...]:
    # A client may choose an id that no header can carry; the client that chose it knows it.
    if len(request_id) > MAX_ID_LENGTH or not (request_id.isascii() and request_id.isprintable()):
        return ()
    return ((REQUEST_ID.encode(), request_id.encode()),)


def unknown_path(path: str, hint: str = "") -> HTTPProblem:
    """Return 404 for an unknown path. The hint says which path has what was probably looked for."""
    clipped = path if len(path) <= 200 else path[:200] + "…"
    return HTTPProblem(404, f"There is nothing at {clipped}" + (f"; {hint}" if hint else ""))


def wrong_method(method: str, allowed: set[str]) -> HTTPProblem:
    """Return 405 for a path that takes other methods."""
    listed = ", ".join(sorted(allowed))
    return HTTPProblem(
        405, f"This path does not take {method}; it takes {listed}.", ((b"allow", listed.encode()),)
    )


def phrase(status: int) -> str:
    """Return the standard phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
