"""Inference requests and responses. Source: Open Inference Protocol, "Inference"."""

from collections.abc import Iterable
from typing import Any

from attrs import cmp_using, define, field
from attrs.setters import NO_OP

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.messages import (
    TensorData,
    same_data,
    to_datatype,
    to_list,
    to_parameters,
    to_shape,
)
from mlsrv_protocol.parameters import Parameters


@define(on_setattr=NO_OP)
class RequestInput:
    """One input tensor.

    Args:
        name: unique among the inputs of the request.
        shape: the length of each dimension; `[]` is a scalar.
        datatype: a `Datatype` or its name.
        data: product(shape) elements, row-major; see `TensorData`.
        parameters: for this tensor alone.

    Raises:
        InvalidPayload: the datatype does not exist.
    """

    name: str
    shape: list[int] = field(converter=to_shape)
    datatype: Datatype = field(converter=to_datatype)
    data: TensorData = field(eq=cmp_using(eq=same_data))
    parameters: Parameters | None = field(default=None, converter=to_parameters)


@define(on_setattr=NO_OP)
class RequestOutput:
    """An output that the caller wants; without any, a model returns all."""

    name: str
    parameters: Parameters | None = field(default=None, converter=to_parameters)


def _inputs(values: Iterable[RequestInput | dict[str, Any]]) -> list[RequestInput]:
    return to_list(RequestInput, values)


def _wanted(values: Iterable[RequestOutput | dict[str, Any]] | None) -> list[RequestOutput] | None:
    return None if values is None else to_list(RequestOutput, values)


@define(on_setattr=NO_OP)
class InferenceRequest:
    """What a model is asked: a list of input tensors.

    Args:
        inputs: `RequestInput`s or dicts of their fields.
        id: echoed in the response.
        parameters: for the request as a whole.
        outputs: the outputs wanted; None means all.
        model_name: the model that is asked. It is part of the address (the URL, the gRPC message), never of the JSON
            body, so it is neither read from nor written to JSON.
        model_version: its version; None lets the server choose.
    """

    inputs: list[RequestInput] = field(converter=_inputs)
    id: str | None = None
    parameters: Parameters | None = field(default=None, converter=to_parameters)
    outputs: list[RequestOutput] | None = field(default=None, converter=_wanted)
    model_name: str = ""
    model_version: str | None = None


@define(on_setattr=NO_OP)
class ResponseOutput:
    """One output tensor; the fields are those of `RequestInput`."""

    name: str
    shape: list[int] = field(converter=to_shape)
    datatype: Datatype = field(converter=to_datatype)
    data: TensorData = field(eq=cmp_using(eq=same_data))
    parameters: Parameters | None = field(default=None, converter=to_parameters)


def _outputs(values: Iterable[ResponseOutput | dict[str, Any]]) -> list[ResponseOutput]:
    return to_list(ResponseOutput, values)


@define(on_setattr=NO_OP)
class InferenceResponse:
    """What a model answers: a list of output tensors.

    Args:
        model_name: the model that answered; a server fills it in.
        outputs: `ResponseOutput`s or dicts of their fields.
        model_version: its version, when it has one.
        id: that of the request.
        parameters: for the response as a whole; its `headers` become headers of the transport.
    """

    model_name: str = ""
    outputs: list[ResponseOutput] = field(factory=list, converter=_outputs)
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters | None = field(default=None, converter=to_parameters)


@define(on_setattr=NO_OP)
class InferenceErrorResponse:
    """The body of every failure."""

    error: str
