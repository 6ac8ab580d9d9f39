"""The Open Inference Protocol over gRPC.

A server loads this distribution as the plugin ``grpc``. Importing the package is cheap: gRPC is imported when
the transport is first used.
"""

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports
from mlsrv_grpc.service import Service
from mlsrv_grpc.settings import GrpcSettings

if TYPE_CHECKING:
    from mlsrv_grpc.transport import GrpcTransport

__all__ = ["GrpcSettings", "GrpcTransport", "Service"]

__getattr__ = lazy_exports(__name__, {"GrpcTransport": "mlsrv_grpc.transport"})
