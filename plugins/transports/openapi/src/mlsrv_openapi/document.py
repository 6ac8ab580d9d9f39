"""Document: the OpenAPI document, made from one table of operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from mlsrv.handlers import Handlers
from mlsrv.types import MetadataModelResponse
from mlsrv_openapi.examples import example_request
from mlsrv_openapi.handler_paths import handler_paths
from mlsrv_openapi.schemas import COMPONENTS, Schema, ref, tensor_schema

_ERRORS = {
    "400": "the request is wrong",
    "404": "there is no such model or version",
    "405": "the path does not take this method",
    "413": "the body is too large",
    "415": "the encoding of the body is not supported",
    "500": "the model or the server failed",
    "501": "the model does not do this",
    "503": "not ready, stopping or overloaded",
    "504": "the deadline passed",
}
_CONTROL = ("400", "404", "405", "413", "415", "500", "503")
_READ = ("404", "405", "500", "503")
_TAGS = ("inference", "custom", "metadata", "health", "statistics", "repository")


@frozen
class Operation:
    """One operation of the server, a row of the table.

    Attributes:
        path: with ``{model}`` where a model is addressed.
        method: in lower case.
        summary: one line.
        tag: the group that Swagger UI shows it in.
        answer: the component of the body of status 200, None for an empty body.
        body: the component of the body of the request, None for no body.
        errors: statuses of errors.
        versioned: whether it exists below ``/versions/{version}`` too.
        events: whether the response is a stream of events.
    """

    path: str
    method: str
    summary: str
    tag: str
    answer: str | None
    body: str | None = None
    errors: Sequence[str] = _READ
    versioned: bool = False
    events: bool = False


_MODEL = "/v2/models/{model}"
_INFERENCE = tuple(_ERRORS)

OPERATIONS = (
    Operation("/v2/health/live", "get", "Is the server alive?", "health", "live", errors=("405",)),
    Operation("/v2/health/ready", "get", "Is every model ready?", "health", "ready", errors=("405", "503")),
    Operation(
        "/v2",
        "get",
        "Name, version and extensions of the server",
        "metadata",
        "metadata_server",
        errors=("405",),
    ),
    Operation("/v2/models", "get", "The names of all models", "metadata", "models", errors=("405",)),
    Operation(_MODEL, "get", "Metadata of a model", "metadata", "metadata_model", versioned=True),
    Operation(f"{_MODEL}/ready", "get", "Is the model ready?", "health", "model_ready", versioned=True),
    Operation(
        f"{_MODEL}/config", "get", "The model's configuration", "metadata", "configuration", versioned=True
    ),
    Operation(
        f"{_MODEL}/stats", "get", "Statistics of the model", "statistics", "statistics", versioned=True
    ),
    Operation(
        "/v2/models/stats", "get", "Statistics of all models", "statistics", "statistics", errors=("405",)
    ),
    Operation(
        f"{_MODEL}/infer",
        "post",
        "Ask the model",
        "inference",
        "inference_response",
        "inference_request",
        _INFERENCE,
        True,
    ),
    Operation(
        f"{_MODEL}/infer_stream",
        "post",
        "Ask the model for a stream of responses",
        "inference",
        "inference_response",
        "inference_request",
        _INFERENCE,
        True,
        events=True,
    ),
    Operation(
        f"{_MODEL}/generate",
        "post",
        "Ask with plain values by name",
        "inference",
        "generate",
        "generate",
        _INFERENCE,
        True,
    ),
    Operation(
        f"{_MODEL}/generate_stream",
        "post",
        "Ask with plain values for a stream",
        "inference",
        "generate",
        "generate",
        _INFERENCE,
        True,
        events=True,
    ),
    Operation(
        "/v2/repository/index",
        "post",
        "Every version of every model, with its state",
        "repository",
        "repository_index",
        "repository_index_request",
        _CONTROL,
    ),
    Operation(
        "/v2/repository/models/{model}/load",
        "post",
        "Load or reload a model",
        "repository",
        None,
        "repository_parameters",
        _CONTROL,
    ),
    Operation(
        "/v2/repository/models/{model}/unload",
        "post",
        "Unload a model",
        "repository",
        None,
        "repository_parameters",
        _CONTROL,
    ),
)


def server_document(name: str, version: str, models: Sequence[str], root: str) -> dict[str, Any]:
    """Return the document of a whole server.

    Args:
        name, version: of the server.
        models: the names that can be chosen for ``{model}``.
        root: where the paths begin, relative to the document.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        for path in _paths(operation):
            parameters = [_parameter("model", models)] if "{model}" in path else []
            parameters += [_parameter("version", ())] if "{version}" in path else []
            operation_object = _operation_object(operation, path, example_request(()))
            paths.setdefault(path, {})[operation.method] = operation_object | (
                {"parameters": parameters} if parameters else {}
            )
    return _document(f"{name}: the Open Inference Protocol", version, root, paths, COMPONENTS)


def model_document(
    metadata: MetadataModelResponse,
    version: str | None,
    paths_name: str,
    root: str,
    handlers: Handlers | None = None,
) -> dict[str, Any]:
    """Return the document of one model, with its own inputs and an example that can be sent unchanged.

    Args:
        metadata: of the model.
        version: the version whose paths are shown, or None for those of the default.
        paths_name: the name of the model, percent-encoded.
        root: where the paths begin, relative to the document.
        handlers: the custom handlers of the model.
    """
    components = dict(COMPONENTS)
    if metadata.inputs:
        inputs = {"anyOf": [tensor_schema(tensor) for tensor in metadata.inputs]}
        request = dict(COMPONENTS["inference_request"])
        request["properties"] = {**request["properties"], "inputs": {"type": "array", "items": inputs}}
        components["inference_request"] = request
    paths: dict[str, dict[str, Any]] = {}
    example = example_request(metadata.inputs)
    for operation in OPERATIONS:
        if "{model}" not in operation.path or (version is not None and not operation.versioned):
            continue
        template = operation.path if version is None else _versioned(operation.path)
        path = template.replace("{model}", paths_name).replace("{version}", version or "")
        paths[path] = {operation.method: _operation_object(operation, path, example)}
    base = _MODEL if version is None else _versioned(_MODEL)
    paths |= handler_paths(
        handlers or {}, base.replace("{model}", paths_name).replace("{version}", version or "")
    )
    outputs = ", ".join(f"{t.name} ({t.datatype.value} {list(t.shape)})" for t in metadata.outputs)
    document = _document(f"Model {metadata.name}", version or "", root, paths, components)
    if outputs:
        document["info"]["description"] = f"Outputs: {outputs}"
    return document


def _document(
    title: str, version: str, root: str, paths: dict[str, Any], components: dict[str, Schema]
) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version or "-"},
        "servers": [{"url": root}],
        "tags": [{"name": name} for name in _TAGS],
        "paths": paths,
        "components": {"schemas": components},
    }


def _paths(operation: Operation) -> list[str]:
    return [operation.path, _versioned(operation.path)] if operation.versioned else [operation.path]


def _versioned(path: str) -> str:
    return path.replace("{model}", "{model}/versions/{version}", 1)


def _parameter(name: str, choices: Sequence[str]) -> dict[str, Any]:
    schema: Schema = {"type": "string", "minLength": 1}
    if choices:
        schema["enum"] = list(choices)
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation_object(operation: Operation, path: str, example: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": _success_response(operation)}
    for status in operation.errors:
        responses[status] = {
            "description": _ERRORS[status],
            "content": {"application/json": {"schema": ref("error")}},
        }
    found: dict[str, Any] = {
        "operationId": f"{operation.method} {path}",
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": responses,
    }
    if operation.body is not None:
        content: dict[str, Any] = {"schema": ref(operation.body)}
        if operation.body == "inference_request":
            content["example"] = example
        elif operation.body == "generate":
            content["example"] = {
                tensor["name"]: _unwrap_single(tensor["data"]) for tensor in example["inputs"]
            }
        elif operation.body == "repository_index_request":
            content["example"] = {"ready": True}
        required = operation.tag == "inference"
        found["requestBody"] = {"required": required, "content": {"application/json": content}}
    return found


def _unwrap_single(data: list[Any]) -> Any:
    return data[0] if len(data) == 1 else data


def _success_response(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {"description": "done"}
    if operation.events:
        text = f"events, each `data: ` and the JSON of one {operation.answer}"
        return {"description": text, "content": {"text/event-stream": {}}}
    return {"description": "the answer", "content": {"application/json": {"schema": ref(operation.answer)}}}
