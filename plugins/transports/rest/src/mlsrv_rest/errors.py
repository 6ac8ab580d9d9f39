"""How failures look over HTTP: one table from `Code` to a status, one form of the body."""

from __future__ import annotations

import math
from http import HTTPStatus

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded
from mlsrv.telemetry.request_logging import report
from mlsrv_protocol.json import encode_error
from mlsrv_rest.headers import LONGEST_ID, REQUEST_ID
from mlsrv_rest.reply import JSON, Reply

STATUS: dict[Code, int] = {
    Code.INVALID_ARGUMENT: 400,
    Code.NOT_FOUND: 404,
    Code.NOT_READY: 503,
    Code.ALREADY_EXISTS: 409,
    Code.TOO_LARGE: 413,
    Code.OVERLOADED: 503,
    Code.DEADLINE_EXCEEDED: 504,
    # Only a server that stops cancels a request whose client is still there.
    Code.CANCELLED: 503,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
}


class HTTPProblem(Exception):
    """A failure that only HTTP knows, such as an unknown path.

    Args:
        status: of the answer.
        message: one sentence for the client.
        headers: further headers of the answer, names in lower case.
    """

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class ClientGone(Exception):
    """The client closed the connection or gave the request up: there is nobody to answer."""


class AnswerBroken(Exception):
    """An endpoint failed after its answer began, too late to say so; the cause is what it raised."""


def error_reply(status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    """An answer in the protocol's error form: ``{"error": message}``."""
    body = encode_error(message)
    return Reply(status, [JSON, (b"content-length", b"%d" % len(body)), *headers], body)


def failure(error: Exception, context: CallContext | None = None) -> Reply:
    """The answer to whatever was raised. The log has it, too, under the id that the client gets in the header
    ``X-Request-Id``.

    Args:
        error: what was raised.
        context: of the request, as far as it was understood.
    """
    if isinstance(error, HTTPProblem):
        return error_reply(error.status, str(error), error.headers)
    context = context or CallContext()
    message = told(error, context)
    headers = _id_header(context.request_id)
    if not isinstance(error, MLSrvError):
        return error_reply(500, message, headers)
    if error.code is Code.OVERLOADED:
        seconds = error.retry_after if isinstance(error, Overloaded) else 1.0
        headers = ((b"retry-after", b"%d" % max(1, math.ceil(seconds))), *headers)
    return error_reply(STATUS[error.code], message, headers)


def told(error: Exception, context: CallContext) -> str:
    """What a client is told of an error, once the log has it."""
    report(error, context)
    if isinstance(error, MLSrvError):
        return str(error)
    return f"Internal server error (request {context.request_id})"


def _id_header(request_id: str) -> tuple[tuple[bytes, bytes], ...]:
    # A client may choose any text as the id of its request, and then knows it.
    if len(request_id) > LONGEST_ID or not (request_id.isascii() and request_id.isprintable()):
        return ()
    return ((REQUEST_ID.encode(), request_id.encode()),)


def unknown_path(path: str) -> HTTPProblem:
    """404 for a path that leads nowhere."""
    shown = path if len(path) <= 200 else path[:200] + "…"
    return HTTPProblem(404, f"There is nothing at {shown}")


def wrong_method(method: str, allowed: set[str]) -> HTTPProblem:
    """405 for a path that takes other methods."""
    listed = ", ".join(sorted(allowed))
    return HTTPProblem(
        405, f"This path does not take {method}; it takes {listed}.", ((b"allow", listed.encode()),)
    )


def phrase(status: int) -> str:
    """What a status that comes without a text means."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
