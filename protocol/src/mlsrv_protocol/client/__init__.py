"""A small client for servers of the protocol, over REST, gRPC and Kafka, synchronous and asynchronous.

URLs with `http` need the extra `mlsrv-protocol[client]`, those with `grpc` also `mlsrv-protocol[grpc]`, and
those with `kafka` also `mlsrv-protocol[kafka]`.
Nothing else in this package imports it.
"""

from mlsrv_protocol.client.asynchronous import AsyncClient
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError
from mlsrv_protocol.client.result import Result
from mlsrv_protocol.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "ConnectionFailed", "Result", "ServerError"]
