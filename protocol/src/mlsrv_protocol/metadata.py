"""Descriptions of servers and models. Source: Open Inference Protocol, "Server Metadata" and "Model Metadata"."""

from collections.abc import Iterable
from typing import Any

from attrs import define, field
from attrs.setters import NO_OP

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.messages import to_datatype, to_list, to_parameters, to_shape
from mlsrv_protocol.parameters import Parameters


@define(on_setattr=NO_OP)
class MetadataTensor:
    """An input or output of a model; `-1` in the shape is a dimension of any length."""

    name: str
    datatype: Datatype = field(converter=to_datatype)
    shape: list[int] = field(converter=to_shape)
    parameters: Parameters | None = field(default=None, converter=to_parameters)


def _tensors(values: Iterable[MetadataTensor | dict[str, Any]]) -> list[MetadataTensor]:
    return to_list(MetadataTensor, values)


@define(on_setattr=NO_OP)
class MetadataModelResponse:
    """What a model is: its versions, its platform, its inputs and outputs."""

    name: str
    platform: str = ""
    versions: list[str] = field(factory=list)
    inputs: list[MetadataTensor] = field(factory=list, converter=_tensors)
    outputs: list[MetadataTensor] = field(factory=list, converter=_tensors)
    parameters: Parameters | None = field(default=None, converter=to_parameters)


@define(on_setattr=NO_OP)
class MetadataServerResponse:
    """What a server is, and which extensions of the protocol it serves."""

    name: str
    version: str
    extensions: list[str] = field(factory=list)
