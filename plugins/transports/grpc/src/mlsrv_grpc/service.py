"""Service: a gRPC service that a plugin adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    import grpc


@frozen
class Service:
    """A gRPC service beside those of the protocol.

    Attributes:
        name: its full name, for example ``"acme.Forecasts"``, used by health checks and reflection.
        handler: made by ``grpc.method_handlers_generic_handler(name, …)``, with coroutine functions for
            `grpc.aio` as behaviours.
        files: the serialised ``FileDescriptorProto`` of its .proto file and of those that it imports, for
            reflection (``acme_pb2.DESCRIPTOR.serialized_pb``); without any, reflection lists only its name.
    """

    name: str
    handler: grpc.GenericRpcHandler
    files: tuple[bytes, ...] = field(default=(), converter=tuple)
