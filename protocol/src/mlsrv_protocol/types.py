"""Types: the messages of the protocol, under the names of the specification and of MLServer."""

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.inference import (
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_protocol.message import TensorData
from mlsrv_protocol.metadata import MetadataModelResponse, MetadataServerResponse, MetadataTensor
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.repository import (
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    RepositoryIndexResponseItem,
    RepositoryLoadErrorResponse,
    RepositoryUnloadErrorResponse,
    State,
)

__all__ = [
    "Datatype",
    "InferenceErrorResponse",
    "InferenceRequest",
    "InferenceResponse",
    "MetadataModelResponse",
    "MetadataServerResponse",
    "MetadataTensor",
    "Parameters",
    "RepositoryIndexRequest",
    "RepositoryIndexResponse",
    "RepositoryIndexResponseItem",
    "RepositoryLoadErrorResponse",
    "RepositoryUnloadErrorResponse",
    "RequestInput",
    "RequestOutput",
    "ResponseOutput",
    "State",
    "TensorData",
]
