"""What the endpoints have in common."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mlsrv.context import CallContext
from mlsrv_protocol.json import dumps
from mlsrv_rest.headers import context_of

SEGMENTS = "mlsrv_rest.segments"
"""Key of the scope: the decoded segments of the path. A segment may hold a slash, which path parameters
cannot tell."""

ROUTE = "mlsrv.route"
"""Key of the scope, for middleware: the path with ``{model}`` and the like for what varies; None for a path
that leads nowhere."""


CALL = "mlsrv_rest.call"
"""Key of the scope: the `mlsrv_rest.calls.Call`."""


def asked(request: Request, request_id: str | None = None) -> CallContext:
    """The context of a request to a model, whose failure is told under its id from now on. Raises as
    `context_of`."""
    context = context_of(dict(request.headers), request_id)
    request.scope[CALL].asked = context
    return context


def model_of(request: Request) -> tuple[str, str | None]:
    """The model and the version that a path ``/v2/models/{model}[/versions/{version}]…`` names."""
    segments: list[str] = request.scope[SEGMENTS]
    return segments[3], segments[5] if "version" in request.path_params else None


def named(request: Request, after: str) -> str:
    """The decoded segment that follows the segment `after`."""
    segments: list[str] = request.scope[SEGMENTS]
    return segments[len(segments) - segments[::-1].index(after)]


def json(content: Any, status: int = 200) -> Response:
    """An answer of plain data or a message, as exactly ``application/json``."""
    return Response(dumps(content), status, media_type="application/json")
