"""Handler paths: the operations of a model's custom handlers."""

from __future__ import annotations

from typing import Any

from mlsrv.handlers import HandlerOptions, Handlers
from mlsrv_openapi.schemas import ref

_TYPES = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}
_MEDIA = {"bytes": "application/octet-stream", "str": "text/plain"}
_VERBS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
"""Verbs that a document can name."""


def handler_paths(handlers: Handlers, base: str) -> dict[str, dict[str, Any]]:
    """Return the path items of a model's handlers.

    Args:
        handlers: of the model, by attribute.
        base: the path of the model, for handlers below it.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, options in sorted(handlers.items()):
        verb = options.rest_method.lower()
        if verb in _VERBS:
            path = options.rest_path if not options.below else base + options.rest_path
            found.setdefault(path, {})[verb] = _operation(name, options, path)
    return found


def _operation(name: str, options: HandlerOptions, path: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{options.rest_method.lower()} {path}",
        "summary": options.summary or f"Custom handler {name}",
        "tags": ["custom"],
        "responses": {
            "200": {"description": "what the handler returns"},
            "default": {"description": "an error", "content": {"application/json": {"schema": ref("error")}}},
        },
    }
    parameters = [
        {
            "name": argument,
            "in": place,
            "required": place == "path",
            "schema": {"type": _TYPES.get(annotation, "string")},
        }
        for argument, place, annotation in options.arguments
        if place != "body"
    ]
    if parameters:
        operation["parameters"] = parameters
    for argument, place, annotation in options.arguments:
        if place == "body":
            media = _MEDIA.get(annotation, "application/json")
            described = f"{argument}: {annotation}" if annotation else argument
            operation["requestBody"] = {"description": described, "content": {media: {"schema": {}}}}
    return operation
