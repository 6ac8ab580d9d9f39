"""Access: the record of one HTTP request for the access log, and what an authorizer is asked about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from mlsrv.authorization import AccessRequest, Action
from mlsrv.kernel_api import Access
from mlsrv_rest.asgi import Scope
from mlsrv_rest.routes.common import CALL

CERTIFICATE: Final = "mlsrv_rest.certificate"
"""Key of the scope's ``state``: the subject of the client's certificate, by field."""

_NO_CERTIFICATE: Mapping[str, str] = MappingProxyType({})

CLIENT_CLOSED_REQUEST = 499
"""Status in the log of a request whose client closed the connection before the response began."""


def access_record(scope: Scope, status: int, seconds: float) -> Access:
    """Return the record of a request that has been answered.

    Args:
        scope: of the request, after the application returned.
        status: of the response; 0 if none began.
        seconds: from the arrival of the request to the end of its response.
    """
    path = _path(scope)
    call, client = scope.get(CALL), scope.get("client")
    return Access(
        "rest",
        f"{scope['method']} {path}",
        status or CLIENT_CLOSED_REQUEST,
        seconds,
        client[0] if client else "",
        call.request_context if call is not None else None,
        quiet=path.startswith("/v2/health") or path.endswith("/ready"),
    )


def access_request(
    scope: Scope, headers: Mapping[str, str], action: Action | None, model: str | None
) -> AccessRequest:
    """Return what an authorizer is asked about a request, of which only the head has been read."""
    client, state = scope.get("client"), scope.get("state")
    return AccessRequest(
        action,
        headers,
        model,
        "rest",
        f"{scope['method']} {_path(scope)}",
        client[0] if client else "",
        state.get(CERTIFICATE, _NO_CERTIFICATE) if state else _NO_CERTIFICATE,
    )


def without_credentials(
    pairs: Iterable[tuple[bytes, bytes]], headers: Mapping[str, str], names: Collection[str]
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request as an endpoint gets them.

    Args:
        pairs: the headers as they came.
        headers: the same by name, of which the guard has replaced the credentials.
        names: of the headers that have credentials.
    """
    found = []
    for name, value in pairs:
        text = name.decode("latin-1")
        found.append((name, headers[text].encode("latin-1", "replace") if text in names else value))
    return found


def _path(scope: Scope) -> str:
    """Return the path as it was sent, without the query, which may hold secrets."""
    raw = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.decode("latin-1").partition("?")[0]
