"""Stub of the service of the protocol."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from mlsrv_protocol.grpc import INFERENCE, file_of, message_class

__all__ = ["GRPCInferenceServiceStub"]


class GRPCInferenceServiceStub:
    """The methods of the service, callable on a channel of grpc, synchronous or asynchronous.

    Args:
        channel: of grpc.
    """

    def __init__(self, channel: Any) -> None:
        file = FileDescriptorProto.FromString(file_of(INFERENCE))
        service = next(found for found in file.service if INFERENCE.endswith(found.name))
        for method in service.method:
            streams = f"{_arity(method.client_streaming)}_{_arity(method.server_streaming)}"
            call = getattr(channel, streams)(
                f"/{INFERENCE}/{method.name}",
                request_serializer=message_class(method.input_type.lstrip(".")).SerializeToString,
                response_deserializer=message_class(_output(method)).FromString,
            )
            setattr(self, method.name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"The service {INFERENCE} has no method {name}.")


def _output(method: Any) -> str:
    """Return the name of the message of a response; those of a stream are the same as single ones."""
    return str(method.output_type).lstrip(".").replace("ModelStreamInferResponse", "ModelInferResponse")


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"
