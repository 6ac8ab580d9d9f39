"""Messages: those of mlsrv to MLServer's types and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from mlserver import types
from mlserver.types.tensor_data import TensorData

from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_protocol.datatypes import bf16_to_float32
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.strings import BareText
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.verbatim import Verbatim

Tensor = RequestInput | ResponseOutput

_BARE = (str, bytes, int, float, dict, type(None))
"""Kinds of data that MLServer writes without a list around it."""


# --- from mlsrv ---------------------------------------------------------------------------------------------


def their_request(request: InferenceRequest) -> types.InferenceRequest:
    """Return a request in MLServer's types; numeric data stays an array until it is read."""
    outputs = request.outputs
    return types.InferenceRequest.model_construct(
        _given(request.id, request.parameters, outputs) | {"inputs"},
        id=request.id,
        parameters=their_parameters(request.parameters),
        inputs=[their_input(tensor) for tensor in request.inputs],
        outputs=None if outputs is None else [their_requested(output) for output in outputs],
    )


def their_input(tensor: RequestInput) -> types.RequestInput:
    """Return an input in MLServer's types."""
    return types.RequestInput.model_construct(**_their_fields(tensor))


def their_output(tensor: ResponseOutput) -> types.ResponseOutput:
    """Return an output in MLServer's types."""
    return types.ResponseOutput.model_construct(**_their_fields(tensor))


def their_requested(output: RequestOutput) -> types.RequestOutput:
    """Return a requested output in MLServer's types."""
    fields: dict[str, Any] = {"name": output.name}
    if output.parameters is not None:
        fields["parameters"] = their_parameters(output.parameters)
    return types.RequestOutput.model_construct(**fields)


def their_response(response: InferenceResponse) -> types.InferenceResponse:
    """Return a response in MLServer's types."""
    fields: dict[str, Any] = {
        "model_name": response.model_name,
        "outputs": [their_output(output) for output in response.outputs],
    }
    if response.model_version is not None:
        fields["model_version"] = response.model_version
    if response.id is not None:
        fields["id"] = response.id
    if response.parameters is not None:
        fields["parameters"] = their_parameters(response.parameters)
    return types.InferenceResponse.model_construct(**fields)


def their_parameters(parameters: Parameters | None) -> types.Parameters | None:
    """Return parameters in MLServer's types."""
    return None if parameters is None else types.Parameters(**parameters.dict())


def their_declared(tensor: MetadataTensor) -> types.MetadataTensor:
    """Return a declared tensor in MLServer's types."""
    fields: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype.value,
        "shape": list(tensor.shape),
    }
    if tensor.parameters is not None:
        fields["parameters"] = their_parameters(tensor.parameters)
    return types.MetadataTensor(**fields)


def _their_fields(tensor: Tensor) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": tensor.name,
        "shape": tensor.shape,
        "datatype": tensor.datatype.value,
        "data": _their_data(tensor),
    }
    if tensor.parameters is not None:
        fields["parameters"] = their_parameters(tensor.parameters)
    return fields


def _their_data(tensor: Tensor) -> TensorData:
    data = tensor.data
    if isinstance(data, np.ndarray):
        if tensor.datatype is Datatype.BF16:
            data = bf16_to_float32(data)
        return TensorData.of_array(data.reshape(-1), tensor.shape if tensor.nested else None)
    if type(data) is BareText:
        return TensorData(data[0])
    if tensor.nested and len(tensor.shape) > 1:
        return TensorData(np.array(data, dtype=object).reshape(tensor.shape).tolist())
    return TensorData(data)


def _given(id: str | None, parameters: object, outputs: object) -> set[str]:
    fields = {"id": id, "parameters": parameters, "outputs": outputs}
    return {name for name, value in fields.items() if value is not None}


# --- to mlsrv -----------------------------------------------------------------------------------------------


def our_request(request: types.InferenceRequest) -> InferenceRequest:
    """Return a request as mlsrv has it.

    Raises:
        InvalidPayload: its data does not fit its shape or datatype.
    """
    outputs = request.outputs
    return InferenceRequest(
        inputs=[our_input(tensor) for tensor in request.inputs],
        id=request.id,
        parameters=our_parameters(request.parameters),
        outputs=None if outputs is None else [our_requested(output) for output in outputs],
    )


def our_input(tensor: types.RequestInput) -> RequestInput:
    """Return an input as mlsrv has it. Raises as `our_request`."""
    given = TensorData.model_validate(tensor.data)
    root = given.root if given.array is None else None
    if isinstance(root, str):
        return RequestInput(
            tensor.name, tensor.shape, Datatype.BYTES, BareText([root]), our_parameters(tensor.parameters)
        )
    made: RequestInput = _our_tensor(RequestInput, tensor)
    return made


def our_output(tensor: types.ResponseOutput) -> ResponseOutput:
    """Return an output as mlsrv has it; data that is no list, or does not fit its shape or datatype, is
    `Verbatim`."""
    given = TensorData.model_validate(tensor.data)
    try:
        if given.array is None and isinstance(given.root, _BARE):
            return _verbatim(tensor, given.root)
        made: ResponseOutput = _our_tensor(ResponseOutput, tensor)
        return made
    except InvalidPayload:
        return _verbatim(tensor, given.root)


def our_requested(output: types.RequestOutput) -> RequestOutput:
    """Return a requested output as mlsrv has it."""
    return RequestOutput(output.name, our_parameters(output.parameters))


def our_response(response: types.InferenceResponse) -> InferenceResponse:
    """Return a response as mlsrv has it."""
    return InferenceResponse(
        response.model_name or "",
        [our_output(output) for output in response.outputs],
        response.model_version,
        response.id,
        our_parameters(response.parameters),
    )


def our_parameters(parameters: types.Parameters | dict[str, Any] | None) -> Parameters | None:
    """Return parameters as mlsrv has them."""
    if parameters is None:
        return None
    if isinstance(parameters, dict):
        return Parameters(**parameters)
    fields = {name: value for name, value in parameters.__dict__.items() if value is not None}
    extra = parameters.__pydantic_extra__ or {}
    return Parameters(**fields, **{name: _plain(value) for name, value in extra.items()})


def our_metadata(metadata: types.MetadataModelResponse) -> MetadataModelResponse:
    """Return the metadata of a model as mlsrv has it."""
    return MetadataModelResponse(
        metadata.name,
        metadata.platform or "",
        list(metadata.versions or ()),
        [our_declared(tensor) for tensor in metadata.inputs or ()],
        [our_declared(tensor) for tensor in metadata.outputs or ()],
        our_parameters(metadata.parameters),
    )


def our_declared(tensor: types.MetadataTensor) -> MetadataTensor:
    """Return a declared tensor as mlsrv has it."""
    return MetadataTensor(
        tensor.name, _datatype(tensor.datatype), list(tensor.shape), our_parameters(tensor.parameters)
    )


def _our_tensor(cls: type[Any], tensor: types.RequestInput | types.ResponseOutput) -> Any:
    datatype = _datatype(tensor.datatype)
    given = TensorData.model_validate(tensor.data)  # which a model may have replaced by a list
    data: Any = given.root if given.array is None else given.array
    if datatype is not Datatype.BYTES:
        data = numeric(data, datatype)
        if len(data) != math.prod(tensor.shape):
            raise InvalidPayload(f"shape {tensor.shape} does not fit {len(data)} elements.")
    else:
        data = _texts(data, tensor.shape)
    made = cls(tensor.name, list(tensor.shape), datatype, data, our_parameters(tensor.parameters))
    made.nested = given.nested
    return made


def _texts(data: Any, shape: list[int]) -> list[str | bytes]:
    flat = np.array(data, dtype=object).reshape(-1).tolist() if isinstance(data, list) else None
    if flat is None or not all(isinstance(item, str | bytes) for item in flat):
        raise InvalidPayload("data holds values that are no texts.")
    if len(flat) != math.prod(shape):
        raise InvalidPayload(f"shape {shape} does not fit {len(flat)} elements.")
    return flat


def _verbatim(tensor: types.ResponseOutput, value: Any) -> ResponseOutput:
    datatype, parameters = _datatype(tensor.datatype), our_parameters(tensor.parameters)
    return ResponseOutput(tensor.name, tensor.shape, datatype, Verbatim.of(value), parameters)


def _datatype(value: Any) -> Datatype:
    return Datatype(value.value if isinstance(value, types.Datatype) else value)


def _plain(value: Any) -> Any:
    return value.model_dump() if hasattr(value, "model_dump") else value
