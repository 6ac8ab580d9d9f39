"""The Open Inference Protocol over gRPC.

A server loads this distribution as the plugin ``grpc``. Importing the package is cheap: gRPC is imported when
the transport is made.
"""

from typing import TYPE_CHECKING, Any

from mlsrv_grpc.service import Service
from mlsrv_grpc.settings import GrpcSettings

if TYPE_CHECKING:
    from mlsrv_grpc.transport import GrpcTransport

__all__ = ["GrpcSettings", "GrpcTransport", "Service"]


def __getattr__(name: str) -> Any:
    if name == "GrpcTransport":
        from mlsrv_grpc.transport import GrpcTransport

        return GrpcTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
