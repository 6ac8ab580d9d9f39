"""The gRPC wire form: inference messages to and from bytes, and the message classes of everything else.

It needs the extra `mlsrv-protocol[grpc]`. Outside this folder only the client's gRPC channel imports it.
"""

from mlsrv_protocol.grpc.descriptors import Descriptors
from mlsrv_protocol.grpc.inference import (
    decode_request,
    decode_response,
    decode_stream_response,
    encode_request,
    encode_response,
    encode_stream_error,
    request_id_of,
)
from mlsrv_protocol.grpc.message_classes import HEALTH, INFERENCE, REFLECTION, file_of, message_class, parse

__all__ = [
    "HEALTH",
    "INFERENCE",
    "REFLECTION",
    "Descriptors",
    "decode_request",
    "decode_response",
    "decode_stream_response",
    "encode_request",
    "encode_response",
    "encode_stream_error",
    "file_of",
    "message_class",
    "parse",
    "request_id_of",
]
