"""Common parts of the endpoints: keys of the scope, path parameters, JSON responses."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mlsrv.authorization import Action
from mlsrv.context import CallContext
from mlsrv_protocol.json import dumps

SEGMENTS = "mlsrv_rest.segments"
"""Key of the scope: the decoded segments of the path. A segment may contain a slash, which Starlette's path
parameters cannot represent."""

ROUTE = "mlsrv.route"
"""Key of the scope, for middleware: the path with placeholders such as ``{model}``; None for an unknown
path."""

PRINCIPAL = "mlsrv.principal"
"""Key of the scope, for endpoints: the `mlsrv.authorization.Principal` of the request; None without an
authorizer."""

CALL = "mlsrv_rest.call"
"""Key of the scope: the `mlsrv_rest.calls.Call`."""


def begin_context(request: Request, request_id: str | None = None) -> CallContext:
    """Return the context of a request to a model, and have errors of the request reported under its id.

    Raises:
        InvalidPayload: as `mlsrv_rest.calls.Call.begin`.
    """
    context: CallContext = request.scope[CALL].begin(dict(request.headers), request_id)
    return context


def visible(request: Request, action: Action, models: list[str]) -> list[str]:
    """Return those of the models that the principal of a request has this right for."""
    principal = request.scope[PRINCIPAL]
    return models if principal is None else principal.visible(action, models)


def model_and_version(request: Request) -> tuple[str, str | None]:
    """Return the model and the version in a path ``/v2/models/{model}[/versions/{version}]…``."""
    segments: list[str] = request.scope[SEGMENTS]
    return segments[3], segments[5] if "version" in request.path_params else None


def model_before_last(request: Request) -> str:
    """Return the model in a path ``…/models/{model}/VERB``."""
    segments: list[str] = request.scope[SEGMENTS]
    return segments[-2]


def json_response(content: Any, status: int = 200) -> Response:
    """Return a response of plain data or a message, as exactly ``application/json``."""
    return Response(dumps(content), status, media_type="application/json")
