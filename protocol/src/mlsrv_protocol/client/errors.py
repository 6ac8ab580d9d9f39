"""Errors of the client."""

from mlsrv_protocol.errors import Code, MLSrvError

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ALREADY_EXISTS,
    413: Code.TOO_LARGE,
    422: Code.INVALID_ARGUMENT,
    429: Code.RATE_LIMITED,
    501: Code.UNIMPLEMENTED,
    503: Code.NOT_READY,
    504: Code.DEADLINE_EXCEEDED,
}


class ServerError(MLSrvError):
    """The server answered with a failure.

    Args:
        message: the server's sentence.
        code: its kind, by the status of the response.
        retry_after: seconds to wait before another attempt, as the server asks; or None.
        status: the status of the response itself: a number over HTTP, a name such as ``"UNAUTHENTICATED"``
            over gRPC; None if the connection broke before there was one.
    """

    def __init__(
        self,
        message: str,
        code: Code = Code.INTERNAL,
        retry_after: float | None = None,
        status: int | str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after
        self.status = status

    def __reduce__(self) -> tuple[type["ServerError"], tuple[str, Code, float | None, int | str | None]]:
        return type(self), (str(self), self.code, self.retry_after, self.status)


class ConnectionFailed(MLSrvError):
    """The server cannot be reached, or the connection broke."""

    code = Code.NOT_READY


def code_of(status: int, retry_after: float | None) -> Code:
    """Return the code for an HTTP status; 503 with `Retry-After` is an overload."""
    if status == 503 and retry_after is not None:
        return Code.OVERLOADED
    return _CODES.get(status, Code.INVALID_ARGUMENT if 400 <= status < 500 else Code.INTERNAL)
