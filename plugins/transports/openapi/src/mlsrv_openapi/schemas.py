"""Schemas: the messages of the protocol as schemas of OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from mlsrv.types import Datatype, MetadataTensor, State

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Return a reference to one of `COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_SHAPE = _array({"type": "integer", "minimum": 0})
_COUNT = {"type": "integer", "minimum": 0}
_DURATION = _object(["count", "ns"], count=_COUNT, ns=_COUNT)
_DURATIONS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)

_TENSOR = {
    "name": {"type": "string", "minLength": 1},
    "shape": _SHAPE,
    "datatype": ref("datatype"),
    "parameters": ref("parameters"),
    "data": ref("tensor_data"),
}
_METADATA = _object(
    ["name", "datatype", "shape"],
    name=_TEXT,
    datatype=ref("datatype"),
    shape=_array({"type": "integer", "minimum": -1}),
    parameters=ref("parameters"),
)

COMPONENTS: dict[str, Schema] = {
    "error": _object(["error"], error=_TEXT),
    "datatype": {"type": "string", "enum": [datatype.value for datatype in Datatype]},
    "parameters": {"type": "object", "additionalProperties": True},
    "tensor_data": _array({"anyOf": [ref("tensor_data"), {"type": ["number", "string", "boolean", "null"]}]}),
    "request_input": _object(["name", "shape", "datatype", "data"], **_TENSOR),
    "request_output": _object(
        ["name"], name={"type": "string", "minLength": 1}, parameters=ref("parameters")
    ),
    "inference_request": _object(
        ["inputs"],
        id=_TEXT,
        parameters=ref("parameters"),
        inputs=_array(ref("request_input")),
        outputs=_array(ref("request_output")),
    ),
    "response_output": _object(["name", "shape", "datatype", "data"], **_TENSOR),
    "inference_response": _object(
        ["model_name", "outputs"],
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=ref("parameters"),
        outputs=_array(ref("response_output")),
    ),
    "metadata_server": _object(
        ["name", "version", "extensions"], name=_TEXT, version=_TEXT, extensions=_array(_TEXT)
    ),
    "metadata_tensor": _METADATA,
    "metadata_model": _object(
        ["name", "platform", "inputs", "outputs"],
        name=_TEXT,
        versions=_array(_TEXT),
        platform=_TEXT,
        inputs=_array(ref("metadata_tensor")),
        outputs=_array(ref("metadata_tensor")),
    ),
    "models": _object(["models"], models=_array(_TEXT)),
    "live": _object(["live"], live=_FLAG),
    "ready": _object(["ready", "live"], ready=_FLAG, live=_FLAG),
    "model_ready": _object(["name", "ready"], name=_TEXT, ready=_FLAG),
    "repository_index_request": _object([], ready=_FLAG),
    "repository_index": _array(
        _object(
            ["name", "state"],
            name=_TEXT,
            version=_TEXT,
            state={"type": "string", "enum": [state.value for state in State]},
            reason=_TEXT,
        )
    ),
    "repository_parameters": _object([], parameters={"type": "object"}),
    "statistics": _object(
        ["model_stats"],
        model_stats=_array(
            _object(
                ["name", "version", "inference_count", "execution_count", "inference_stats"],
                name=_TEXT,
                version=_TEXT,
                last_inference=_COUNT,
                inference_count=_COUNT,
                execution_count=_COUNT,
                inference_stats=_object(list(_DURATIONS), **dict.fromkeys(_DURATIONS, _DURATION)),
            )
        ),
    ),
    "configuration": _object(["name", "platform"], name=_TEXT, platform=_TEXT, max_batch_size=_COUNT),
    "generate": {"type": "object", "additionalProperties": True},
}


def tensor_schema(tensor: MetadataTensor) -> Schema:
    """Return the schema of a request input that fits a declared input."""
    return {
        "type": "object",
        "title": tensor.name,
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            **_TENSOR,
            "name": {"const": tensor.name},
            "datatype": {"const": tensor.datatype.value},
            "shape": {
                **_SHAPE,
                "description": f"fits {list(tensor.shape)}, where -1 is a dimension of any length",
            },
        },
    }
