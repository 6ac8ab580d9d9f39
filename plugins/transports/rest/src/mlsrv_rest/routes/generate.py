"""Generate codec: bodies of ``generate``, with tensors as plain JSON values by name.

Source: Triton's "Generate Extension".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlsrv.errors import InferenceError, InvalidPayload
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    RequestInput,
)
from mlsrv_protocol.json import dumps
from mlsrv_protocol.parsing import parse_parameters


def decode(fields: dict[str, Any], metadata: MetadataModelResponse) -> InferenceRequest:
    """Return the request in the fields of a body.

    Keys that are inputs of the model become tensors, a single value as one element; all others, and those of
    ``parameters``, become request parameters.

    Raises:
        InferenceError: the model declares no inputs.
        InvalidPayload: a value does not fit its input.
    """
    if not metadata.inputs:
        raise InferenceError(f"Model {metadata.name} declares no inputs, which generate needs; use infer.")
    fields = dict(fields)
    request_id = fields.pop("id", None)
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidPayload("id must be a string.")
    extra = fields.pop("parameters", None) or {}
    if not isinstance(extra, dict):
        raise InvalidPayload("parameters must be an object.")
    inputs = [_input(tensor, fields.pop(tensor.name)) for tensor in metadata.inputs if tensor.name in fields]
    parameters = {**fields, **extra}
    return InferenceRequest(inputs, id=request_id, parameters=parse_parameters(parameters))


def encode(response: InferenceResponse) -> bytes:
    """Return the body of a response: outputs by name, those of one element without a list."""
    body: dict[str, Any] = {"model_name": response.model_name}
    if response.model_version is not None:
        body["model_version"] = response.model_version
    if response.id is not None:
        body["id"] = response.id
    for output in response.outputs:
        data = output.to_plain()["data"]
        body[output.name] = data[0].item() if _is_single_number(data) else data[0] if len(data) == 1 else data
    return dumps(body)


def _is_single_number(data: Any) -> bool:
    return isinstance(data, np.ndarray) and len(data) == 1


def _input(declared: MetadataTensor, value: Any) -> RequestInput:
    shape: list[int]
    if isinstance(value, list):
        shape, inner = [len(value)], value
        while inner and isinstance(inner[0], list):
            shape.append(len(inner[0]))
            inner = inner[0]
        shape = [1] * (len(declared.shape) - len(shape)) + shape
    else:
        shape, value = [1 if length == -1 else length for length in declared.shape] or [1], [value]
    plain = {"name": declared.name, "shape": shape, "datatype": declared.datatype.value, "data": value}
    return RequestInput.parse_obj(plain)
