"""A small client for servers of the protocol, over REST and gRPC, synchronous and asynchronous.

URLs with `http` need the extra `mlsrv-protocol[client]`, and those with `grpc` also `mlsrv-protocol[grpc]`.
Nothing else in this package imports it.
"""

from mlsrv_protocol.client.asynchronous import AsyncClient
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError
from mlsrv_protocol.client.result import Result
from mlsrv_protocol.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "ConnectionFailed", "Result", "ServerError"]
