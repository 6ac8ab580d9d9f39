"""The Open Inference Protocol as data: messages, datatypes, validation and wire forms.

Usable by a client alone; it opens no connection and starts nothing.
"""

from mlsrv_protocol.errors import Code, InvalidOutput, InvalidPayload, MLSrvError
from mlsrv_protocol.types import (
    Datatype,
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    MetadataTensor,
    Parameters,
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    RepositoryIndexResponseItem,
    RepositoryLoadErrorResponse,
    RepositoryUnloadErrorResponse,
    RequestInput,
    RequestOutput,
    ResponseOutput,
    State,
    TensorData,
)

__all__ = [
    "Code",
    "Datatype",
    "InferenceErrorResponse",
    "InferenceRequest",
    "InferenceResponse",
    "InvalidOutput",
    "InvalidPayload",
    "MLSrvError",
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
