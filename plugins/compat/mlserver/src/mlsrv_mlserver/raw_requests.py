"""Raw requests: those of starlette, for custom handlers that take the request itself.

Environments of models need not have starlette; a model that names its class has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from mlsrv.handlers import HandlerOptions

if TYPE_CHECKING:
    from starlette.requests import Request


def is_raw_request(hint: Any) -> bool:
    """Return whether an annotation means the request itself."""
    found = sys.modules.get("starlette.requests")
    return found is not None and isinstance(hint, type) and issubclass(hint, found.Request)


def raw_request(
    options: HandlerOptions,
    body: bytes,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    values: Mapping[str, Any],
) -> Request:
    """Return a request with what came from the client; its body can be read once, or as a whole.

    Args:
        options: of the handler.
        body: of the request.
        headers: with names in lower case.
        query: of the URL.
        values: of the segments of the path in braces.
    """
    from starlette.requests import Request

    path = options.rest_path
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", str(value))
    scope = {
        "type": "http",
        "method": options.rest_method,
        "scheme": "http",
        "path": path,
        "path_params": dict(values),
        "query_string": urlencode(query).encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "server": None,
        "client": None,
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


__all__ = ["is_raw_request", "raw_request"]
