"""Metadata: the messages that describe servers and models.

Source: Open Inference Protocol, "Server Metadata" and "Model Metadata".
"""

from collections.abc import Iterable
from typing import Any, Self

from attrs import define, field
from attrs.setters import NO_OP

from mlsrv_protocol.converters import to_datatype, to_list, to_parameters, to_shape
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.message import Message
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.parsing import (
    parse_array,
    parse_datatype,
    parse_object,
    parse_parameters,
    parse_text,
)
from mlsrv_protocol.plain_arrays import plain_text
from mlsrv_protocol.quoting import clip


@define(on_setattr=NO_OP)
class MetadataTensor(Message):
    """An input or output of a model; `-1` in the shape is a dimension of any length."""

    name: str = field(converter=plain_text)
    datatype: Datatype = field(converter=to_datatype)
    shape: list[int] = field(converter=to_shape)
    parameters: Parameters | None = field(default=None, converter=to_parameters)

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        fields = parse_object(obj, "The tensor")
        shape = parse_array(fields.get("shape"), "shape")
        for length in shape:
            if type(length) is not int or length < -1:
                raise InvalidPayload(
                    f"shape contains {clip(length)}; each dimension must be an integer from -1 up."
                )
        return cls(
            parse_text(fields.get("name"), "name"),
            parse_datatype(fields.get("datatype")),
            shape,
            parse_parameters(fields.get("parameters")),
        )


def _to_tensors(values: Iterable[MetadataTensor | dict[str, Any]]) -> list[MetadataTensor]:
    return to_list(MetadataTensor, values)


@define(on_setattr=NO_OP)
class MetadataModelResponse(Message):
    """The metadata of a model: its versions, platform, inputs and outputs."""

    name: str
    platform: str = ""
    versions: list[str] = field(factory=list)
    inputs: list[MetadataTensor] = field(factory=list, converter=_to_tensors)
    outputs: list[MetadataTensor] = field(factory=list, converter=_to_tensors)
    parameters: Parameters | None = field(default=None, converter=to_parameters)

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        fields = parse_object(obj, "The model's metadata")
        return cls(
            parse_text(fields.get("name"), "name"),
            parse_text(fields.get("platform", ""), "platform"),
            _parse_texts(fields.get("versions"), "versions"),
            [MetadataTensor.parse_obj(item) for item in parse_array(fields.get("inputs", []), "inputs")],
            [MetadataTensor.parse_obj(item) for item in parse_array(fields.get("outputs", []), "outputs")],
            parse_parameters(fields.get("parameters")),
        )


@define(on_setattr=NO_OP)
class MetadataServerResponse(Message):
    """The metadata of a server: its name, version, and extensions of the protocol."""

    name: str
    version: str
    extensions: list[str] = field(factory=list)

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        fields = parse_object(obj, "The server's metadata")
        return cls(
            parse_text(fields.get("name"), "name"),
            parse_text(fields.get("version"), "version"),
            _parse_texts(fields.get("extensions"), "extensions"),
        )


def _parse_texts(value: object, what: str) -> list[str]:
    return [] if value is None else [parse_text(item, what) for item in parse_array(value, what)]
