"""Data plane: the messages of inference and metadata, as pydantic models."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import ConfigDict

from mlserver.types.base import BaseModel
from mlserver.types.tensor_data import TensorData

__all__ = [
    "Datatype",
    "InferenceErrorResponse",
    "InferenceRequest",
    "InferenceResponse",
    "MetadataModelErrorResponse",
    "MetadataModelResponse",
    "MetadataServerErrorResponse",
    "MetadataServerResponse",
    "MetadataTensor",
    "Parameters",
    "RequestInput",
    "RequestOutput",
    "ResponseOutput",
    "TensorData",
]


class Datatype(Enum):
    """The datatypes of the protocol. Messages hold their values, which are texts."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


class MetadataServerResponse(BaseModel):
    """Name, version and extensions of the server."""

    name: str
    version: str
    extensions: list[str]


class MetadataServerErrorResponse(BaseModel):
    """The body of a failure."""

    error: str


class MetadataModelErrorResponse(BaseModel):
    """The body of a failure."""

    error: str


class InferenceErrorResponse(BaseModel):
    """The body of a failure."""

    error: str | None = None


class Parameters(BaseModel):
    """The named values of a tensor, a request or a response; keys of any name are attributes, too."""

    model_config = ConfigDict(extra="allow", use_enum_values=True, protected_namespaces=())

    content_type: str | None = None
    headers: dict[str, Any] | None = None


class MetadataTensor(BaseModel):
    """An input or output of a model."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: Parameters | None = None


class MetadataModelResponse(BaseModel):
    """The metadata of a model."""

    name: str
    versions: list[str] | None = None
    platform: str
    inputs: list[MetadataTensor] | None = None
    outputs: list[MetadataTensor] | None = None
    parameters: Parameters | None = None


class RequestInput(BaseModel):
    """One input tensor."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | None = None
    data: TensorData


class RequestOutput(BaseModel):
    """An output that the caller asks for."""

    name: str
    parameters: Parameters | None = None


class ResponseOutput(BaseModel):
    """One output tensor."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | None = None
    data: TensorData


class InferenceRequest(BaseModel):
    """A request to a model."""

    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[RequestInput]
    outputs: list[RequestOutput] | None = None


class InferenceResponse(BaseModel):
    """The response of a model."""

    model_name: str
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[ResponseOutput]
